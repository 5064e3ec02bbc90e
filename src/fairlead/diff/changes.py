# SPDX-License-Identifier: Apache-2.0
"""Changes of an IPVS table as data: what a diff returns, an applier sends and `--diff` shows.

`str()` of a change is the ipvsadm command that would do the same, because that is the language of
the people who read it; a change of something existing tells the former value behind a `#`.
"""

import msgspec

from fairlead.model.ipvs import (
    AddressFamily,
    ForwardMethod,
    IpvsDest,
    IpvsEntries,
    IpvsService,
    ServiceFlag,
    ServiceKey,
    TunnelFlag,
    TunnelType,
)

_FLAG_NAMES = {
    "mh": {ServiceFlag.SCHED1: "mh-fallback", ServiceFlag.SCHED2: "mh-port"},
    "sh": {ServiceFlag.SCHED1: "sh-fallback", ServiceFlag.SCHED2: "sh-port"},
}
_GENERIC_FLAGS = {
    ServiceFlag.SCHED1: "flag-1",
    ServiceFlag.SCHED2: "flag-2",
    ServiceFlag.SCHED3: "flag-3",
}
_METHOD_OPTIONS = {
    ForwardMethod.MASQUERADE: "-m",
    ForwardMethod.LOCAL: "-l",
    ForwardMethod.TUNNEL: "-i",
    ForwardMethod.DIRECT: "-g",
    ForwardMethod.BYPASS: "-b",
}


class AddService(msgspec.Struct, frozen=True, gc=False):
    """Make a virtual server; it has no real servers yet."""

    service: IpvsService

    @property
    def key(self) -> ServiceKey:
        """The virtual server."""
        return self.service.key

    def __str__(self) -> str:
        return f"ipvsadm -A {self.service.key}{_service_options(self.service)}"


class SetService(msgspec.Struct, frozen=True, gc=False):
    """Change scheduler, flags or persistence; `before` is None where that was never sent."""

    service: IpvsService
    before: IpvsService | None = None

    @property
    def key(self) -> ServiceKey:
        """The virtual server."""
        return self.service.key

    def __str__(self) -> str:
        was = f"  # was{_service_options(self.before)}" if self.before else ""
        return f"ipvsadm -E {self.service.key}{_service_options(self.service)}{was}"


class DelService(msgspec.Struct, frozen=True, gc=False):
    """Remove a virtual server with its real servers."""

    service: IpvsService

    @property
    def key(self) -> ServiceKey:
        """The virtual server."""
        return self.service.key

    def __str__(self) -> str:
        return f"ipvsadm -D {self.service.key}"


class AddDest(msgspec.Struct, frozen=True, gc=False):
    """Add a real server."""

    key: ServiceKey
    dest: IpvsDest

    def __str__(self) -> str:
        return f"ipvsadm -a {self.key} -r {self.dest}{_dest_options(self.dest)}"


class SetDest(msgspec.Struct, frozen=True, gc=False):
    """Change a real server's weight, method or thresholds."""

    key: ServiceKey
    dest: IpvsDest
    before: IpvsDest | None = None

    def __str__(self) -> str:
        was = f"  # was{_dest_options(self.before)}" if self.before else ""
        return f"ipvsadm -e {self.key} -r {self.dest}{_dest_options(self.dest)}{was}"


class DelDest(msgspec.Struct, frozen=True, gc=False):
    """Remove a real server."""

    key: ServiceKey
    dest: IpvsDest

    def __str__(self) -> str:
        return f"ipvsadm -d {self.key} -r {self.dest}"


IpvsChange = AddService | SetService | DelService | AddDest | SetDest | DelDest


def rules(entries: IpvsEntries) -> list[str]:
    """A table as the commands that build it, as `ipvsadm -Sn` prints it; sorted by service.

    Real servers stand in order of insertion: the order is part of what is compared.
    """
    lines = []
    for key in sorted(entries):
        entry = entries[key]
        lines.append(f"-A {key}{_service_options(entry.service)}")
        lines += [f"-a {key} -r {dest}{_dest_options(dest)}" for dest in entry.dests]
    return lines


def flag_names(scheduler: str, flags: int) -> list[str]:
    """Scheduler flags in ipvsadm's words, e.g. ["mh-fallback", "mh-port"]."""
    names = {**_GENERIC_FLAGS, **_FLAG_NAMES.get(scheduler, {})}
    return [names[bit] for bit in names if flags & bit]


def _service_options(service: IpvsService) -> str:
    text = f" -s {service.scheduler}"
    if service.flags & ServiceFlag.PERSISTENT:
        text += f" -p {service.timeout}"
        full = 32 if service.key.family == AddressFamily.INET else 128
        if service.prefix != full:
            text += f" -M {_mask_text(service)}"
    if service.engine:
        text += f" --pe {service.engine}"
    if service.flags & ServiceFlag.ONE_PACKET:
        text += " -o"
    names = flag_names(service.scheduler, service.flags)
    return text + (f" -b {','.join(names)}" if names else "")


def _mask_text(service: IpvsService) -> str:
    if service.key.family == AddressFamily.INET6:
        return str(service.prefix)
    mask = (0xFFFFFFFF << (32 - service.prefix)) & 0xFFFFFFFF
    return ".".join(str(byte) for byte in mask.to_bytes(4, "big"))


def _dest_options(dest: IpvsDest) -> str:
    text = f" {_METHOD_OPTIONS.get(ForwardMethod(dest.method), '?')}"
    if dest.method == ForwardMethod.TUNNEL and dest.tunnel_type != TunnelType.IPIP:
        text += f" --tun-type {TunnelType(dest.tunnel_type).name.lower()}"
        if dest.tunnel_port:
            text += f" --tun-port {dest.tunnel_port}"
        text += f" --tun-{TunnelFlag(dest.tunnel_flags).name or 'flags'}".lower()
    text += f" -w {dest.weight}"
    if dest.upper:
        text += f" -x {dest.upper}"
    return text + (f" -y {dest.lower}" if dest.lower else "")
