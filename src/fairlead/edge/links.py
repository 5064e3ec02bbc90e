# SPDX-License-Identifier: Apache-2.0
"""Links and addresses of an edge over route netlink: the one file that imports pyroute2.

pyroute2 costs 0.1 s and 20 MB to import, so that happens when a `Links` is opened, not before.
"""

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Protocol, Self

from fairlead.diff.addresses import AddAddress, AddressChange
from fairlead.edge.netns import entered
from fairlead.model.addresses import address_order
from fairlead.model.errors import ApplyError, FairleadError
from fairlead.model.names import VIP_LINK, IPAddress

_EEXIST, _EADDRNOTAVAIL = 17, 99
_IFA_F_NODAD = 0x02
_AF_INET, _AF_INET6 = 2, 10
_SCOPE_LINK = 253
_UP = 1


class LinkPort(Protocol):
    """What the address applier needs; `Links` and `FakeLinks` have it."""

    def exists(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link."""
        ...

    def is_up(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link, and it is up."""
        ...

    def ensure_link(self, name: str = VIP_LINK) -> bool:
        """Make the dummy link and bring it up; whether anything had to be done."""
        ...

    def addresses(self, name: str = VIP_LINK, *, link_local: bool = False) -> tuple[IPAddress, ...]:
        """Addresses on a link, sorted; () where there is no such link."""
        ...

    def apply(self, changes: Sequence[AddressChange], name: str = VIP_LINK) -> None:
        """Put on and take off addresses."""
        ...


class Links:
    """Links of one network namespace over one netlink socket; not for threads to share."""

    def __init__(self, netns: str | None = None) -> None:
        """Open it.

        Args:
            netns: Name or path of a network namespace, None for our own.
        """
        from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415  (see the head of this file)

        with entered(netns):
            route: Any = IPRoute
            self._route = route()

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def exists(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link."""
        return self._index(name) is not None

    def ensure_link(self, name: str = VIP_LINK) -> bool:
        """Make the dummy link and bring it up; whether anything had to be done.

        Raises:
            ApplyError: The kernel has no dummy driver, or it is not permitted.
        """
        if self.is_up(name):
            return False
        try:
            if self._index(name) is None:
                self._route.link("add", ifname=name, kind="dummy")
            self._route.link("set", index=self._index(name), state="up")
        except self._error as error:
            raise ApplyError(
                f"link {name}: {error.args[-1]}; it needs the dummy driver "
                "(`modprobe dummy`) and CAP_NET_ADMIN"
            ) from error
        return True

    def addresses(self, name: str = VIP_LINK, *, link_local: bool = False) -> tuple[IPAddress, ...]:
        """Addresses on a link, sorted; () where there is no such link.

        On the LAN interface this tells which VIPs stand here, hence this edge's VRRP role.

        Args:
            name: The link.
            link_local: Link-local ones, too: the stable address of a VRRP group may be one.
        """
        index = self._index(name)
        if index is None:
            return ()
        found = {
            ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
            for message in self._route.get_addr(index=index)
            if link_local or message["scope"] != _SCOPE_LINK
        }
        return tuple(sorted(found, key=address_order))

    def apply(self, changes: Sequence[AddressChange], name: str = VIP_LINK) -> None:
        """Put on and take off addresses; what is already so counts as done.

        IPv6 addresses skip duplicate detection, which would hold them back for a second, and are
        deprecated, so that the edge's own connections never take a VIP as their source.

        Raises:
            ApplyError: Names the first address that the kernel refused.
        """
        if not changes:
            return
        index = self._index(name)
        if index is None:
            raise ApplyError(f"link {name} does not exist; ensure_link makes it")
        for change in changes:
            self._change(index, change, name)

    def remove(self, addresses: Collection[IPAddress], name: str) -> None:
        """Take addresses off a link, with whatever prefix length they stand there.

        The kernel removes an address only under its own prefix length, and what a dead keepalived
        left behind has the one of the inventory.

        Raises:
            ApplyError: Names the first address that the kernel refused to remove.
        """
        index = self._index(name)
        if index is None:
            return
        for message in list(self._route.get_addr(index=index)):
            address = ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
            if address not in addresses:
                continue
            length = message["prefixlen"]
            try:
                self._route.addr(
                    "del", index=index, address=str(address), prefixlen=length,
                    family=message["family"],
                )  # fmt: skip
            except self._error as error:
                if getattr(error, "code", 0) != _EADDRNOTAVAIL:
                    what = f"-{address}/{length}: {error.args[-1]}"
                    raise ApplyError(f"link {name}: {what}") from error

    def _change(self, index: int, change: AddressChange, name: str) -> None:
        adding = isinstance(change, AddAddress)
        address = change.address
        options: dict[str, Any] = {"family": _AF_INET}
        if address.version == 6:
            options["family"] = _AF_INET6
            if adding:
                options |= {"flags": _IFA_F_NODAD, "preferred_lft": 0, "valid_lft": 0xFFFFFFFF}
        try:
            self._route.addr(
                "add" if adding else "del",
                index=index,
                address=str(address),
                prefixlen=address.max_prefixlen,
                **options,
            )
        except self._error as error:
            code: int = getattr(error, "code", 0)
            if code != (_EEXIST if adding else _EADDRNOTAVAIL):
                raise ApplyError(f"link {name}: {change}: {error.args[-1]}") from error

    def _index(self, name: str) -> int | None:
        found = self._route.link_lookup(ifname=name)
        return int(found[0]) if found else None

    def is_up(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link, and it is up."""
        index = self._index(name)
        return index is not None and bool(self._route.get_links(index)[0]["flags"] & _UP)

    @property
    def _error(self) -> type[Exception]:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

        error: type[Exception] = NetlinkError
        return error


class FakeLinks:
    """`LinkPort` without a kernel, for tests."""

    def __init__(self, addresses: Iterable[IPAddress] = (), *, exists: bool = True) -> None:
        self._links: dict[str, set[IPAddress]] = {VIP_LINK: set(addresses)} if exists else {}

    def exists(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link."""
        return name in self._links

    def is_up(self, name: str = VIP_LINK) -> bool:
        """Whether there is such a link; here it is up then."""
        return name in self._links

    def ensure_link(self, name: str = VIP_LINK) -> bool:
        """Make the link."""
        made = name not in self._links
        self._links.setdefault(name, set())
        return made

    def addresses(self, name: str = VIP_LINK, *, link_local: bool = False) -> tuple[IPAddress, ...]:
        """Addresses on a link, sorted; a fake link has no link-local ones of its own."""
        del link_local
        return tuple(sorted(self._links.get(name, ()), key=address_order))

    def apply(self, changes: Sequence[AddressChange], name: str = VIP_LINK) -> None:
        """Put on and take off addresses."""
        if name not in self._links:
            raise FairleadError(f"link {name} does not exist")
        for change in changes:
            if isinstance(change, AddAddress):
                self._links[name].add(change.address)
            else:
                self._links[name].discard(change.address)
