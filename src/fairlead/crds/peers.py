# SPDX-License-Identifier: Apache-2.0
"""BGPPeer and BFDProfile.

BGPPeer is stored as v1beta2 and served as v1beta1 too, with the same schema: whoever still writes
v1beta1 (a part of the same fields) goes on, and reading or editing an object by the old version
loses none of the newer fields (decision 0016).
"""

from fairlead.crds.addresses import address
from fairlead.crds.definition import Column, Definition, Version
from fairlead.crds.schema import (
    NAME_LENGTH,
    Schema,
    checked,
    choice,
    flag,
    number,
    rule,
    struct,
    text,
)
from fairlead.crds.selectors import selectors

_ASN = 2**32 - 1
_DURATION = r"^(0|([0-9]{1,9}([.][0-9]{1,9})?(ns|us|ms|s|m|h))+)$"


def peer() -> Definition:
    """The definition of BGPPeer."""
    columns = (
        Column("Address", "string", ".spec.peerAddress"),
        Column("ASN", "string", ".spec.peerASN"),
        Column("BFD Profile", "string", ".spec.bfdProfile"),
        Column("Multi Hops", "string", ".spec.ebgpMultiHop"),
    )
    about = "A router that the edges announce addresses to."
    old = "metallb.io/v1beta1 BGPPeer is deprecated: write metallb.io/v1beta2, the fields stay"
    return Definition(
        "BGPPeer",
        "bgppeers",
        (
            Version("v1beta1", about, _spec(), columns=columns, deprecation=old),
            Version("v1beta2", about, _spec(), columns=columns),
        ),
    )


def _spec() -> Schema:
    return checked(
        struct("The session.", ("myASN",), **_session(), **_times(), **_secrets(), **_options()),
        _one_of("peerASN", "has(self.peerASN) && self.peerASN != 0", "dynamicASN"),
        _one_of("peerAddress", _given("peerAddress"), "interface"),
        rule(f"!({_given('password')} && has(self.passwordSecret)"
             " && has(self.passwordSecret.name) && self.passwordSecret.name != '')",
             "password and passwordSecret exclude each other: give one of them"),
        rule("!has(self.ebgpMultiHop) || !self.ebgpMultiHop"
             " || !((has(self.peerASN) && self.peerASN == self.myASN)"
             " || (has(self.dynamicASN) && self.dynamicASN == 'internal'))",
             "ebgpMultiHop is for eBGP: this peer has our own ASN"),
        rule(_keepalive_fits(), "keepaliveTime must not be longer than holdTime"),
    )  # fmt: skip


def _given(field: str) -> str:
    return f"(has(self.{field}) && self.{field} != '')"


def _one_of(field: str, given: str, other: str) -> Schema:
    return rule(
        f"({given}) != {_given(other)}", f"exactly one of {field} and {other} has to be given"
    )


def _session() -> dict[str, Schema]:
    return {
        "myASN": number("Our ASN.", 1, _ASN, size="int64"),
        "peerASN": number("The router's ASN.", 0, _ASN, size="int64"),
        "dynamicASN": choice("Instead of peerASN: whether the router has our ASN (internal) or "
                             "any other (external).", "internal", "external"),
        "localASN": number("ASN that this router sees instead of ours.", 1, _ASN, size="int64"),
        "peerAddress": address("The router's address."),
        "interface": text("Instead of peerAddress: interface of an unnumbered session.",
                          longest=15),
        "peerPort": number("The router's TCP port.", 1, 16384, default=179),
        "sourceAddress": address("Our end of the session."),
        "routerID": address("Our router ID.", v4=True),
        "nodeSelectors": selectors("Edges by label; all of them without any.", "an edge"),
    }  # fmt: skip


def _duration(about: str, *rules: Schema) -> Schema:
    valid = rule(f"self.matches('{_DURATION}')", "is not a duration such as 90s",
                 says="'\"' + self + '\" is not a duration such as 90s'")  # fmt: skip
    return checked(text(about, longest=32), valid, *rules)


def _guarded(expression: str) -> str:
    """An expression about `duration(self)`, true where the text is no duration at all."""
    return f"!self.matches('{_DURATION}') || ({expression})"


def _times() -> dict[str, Schema]:
    seconds = "duration(self).getSeconds()"
    return {
        "holdTime": _duration(
            "After this silence the session is down.",
            rule(
                _guarded(f"{seconds} == 0 || ({seconds} >= 3 && {seconds} <= 65535)"),
                "must be 0s or 3s to 65535s (RFC 4271)",
            ),
        ),
        "keepaliveTime": _duration("Time between keepalives; a third of holdTime without."),
        "connectTime": _duration(
            "Time between attempts to connect.",
            rule(
                _guarded(
                    f"{seconds} >= 1 && {seconds} <= 65535"
                    " && duration(self).getMilliseconds() % 1000 == 0"
                ),
                "must be whole seconds, 1s to 65535s",
            ),
        ),
    }


def _keepalive_fits() -> str:
    usable = " && ".join(
        f"has(self.{name}) && self.{name}.matches('{_DURATION}')"
        for name in ("holdTime", "keepaliveTime")
    )
    return f"!({usable}) || duration(self.keepaliveTime) <= duration(self.holdTime)"


def _secrets() -> dict[str, Schema]:
    return {
        "password": text("TCP MD5 password; better kept in a Secret.", longest=80),
        "passwordSecret": {
            **struct(
                "Secret of type kubernetes.io/basic-auth in this object's namespace; its key "
                "password is the TCP MD5 password.",
                name=text("Name of the Secret.", longest=NAME_LENGTH),
                namespace=text("Unused: the Secret is where the peer is.", longest=63),
            ),
            "x-kubernetes-map-type": "atomic",
        },
    }


def _options() -> dict[str, Schema]:
    keep = rule("self == oldSelf", "can't be changed: delete the peer and make it anew")
    return {
        "bfdProfile": text("BFDProfile of the session; none without.", longest=NAME_LENGTH),
        "enableGracefulRestart": checked(
            flag("Let the router keep our routes while the session restarts."), keep
        ),
        "ebgpMultiHop": flag("Whether the router is more than one hop away."),
        "vrf": text("Interface of the VRF that the session runs in.", longest=15),
        "disableMP": flag("Deprecated: a session carries its own family only.", default=False),
        "dualStackAddressFamily": flag("Let the session carry both families.", default=False),
    }


def bfd_profile() -> Definition:
    """The definition of BFDProfile."""
    spec = struct(
        "Timers of BFD sessions.",
        receiveInterval=_interval("Least time between packets that we can take"),
        transmitInterval=_interval("Least time between packets that we send"),
        detectMultiplier=number("Packets that may be missing.", 2, 255),
        echoInterval=_interval("Least time between echo packets"),
        echoMode=flag("Send echo packets, too."),
        passiveMode=flag("Let the router begin."),
        minimumTtl=number("Least TTL of packets over several hops.", 1, 254),
    )
    columns = (
        Column("Passive Mode", "boolean", ".spec.passiveMode"),
        Column("Transmit Interval", "integer", ".spec.transmitInterval"),
        Column("Receive Interval", "integer", ".spec.receiveInterval"),
        Column("Multiplier", "integer", ".spec.detectMultiplier"),
    )
    about = "How fast BFD notices a dead router; for use in BGPPeers."
    version = Version("v1beta1", about, spec, columns=columns)
    return Definition("BFDProfile", "bfdprofiles", (version,))


def _interval(about: str) -> Schema:
    return number(f"{about}, in milliseconds.", 10, 60000)
