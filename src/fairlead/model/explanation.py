# SPDX-License-Identifier: Apache-2.0
"""Why one Service is planned as it is: what `fairlead plan --explain` prints.

A report and nothing that anybody computes with: addresses are text. Its JSON form is a contract,
`schema/explanation.schema.json`, field for field the attribute names below.
"""

import msgspec

from fairlead.model.plan import PlanEvent, Refusal


class PassedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address of a pool that was not taken, and why."""

    address: str
    why: str


class AllocationStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the allocator looked at, in its order.

    Attributes:
        phase: `wish`, `held`, `request`, `choice` or `second-family`.
        outcome: `yes`, `no`, or `looked` (neither success nor failure).
        pool: Name of the pool it is about.
        passed: The first addresses passed over before the one found; `more` others were, too.
    """

    phase: str
    outcome: str
    message: str
    pool: str | None
    addresses: tuple[str, ...]
    passed: tuple[PassedAddress, ...]
    more: int


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """Another Service on one of the addresses."""

    address: str
    service: str


class AddressStory(msgspec.Struct, frozen=True, kw_only=True):
    """Why this address, or none.

    Attributes:
        recorded: Addresses in `status` of the input.
    """

    addresses: tuple[str, ...]
    pool: str | None
    recorded: tuple[str, ...]
    refusal: Refusal | None
    steps: tuple[AllocationStep, ...]
    shared_with: tuple[Companion, ...]
    events: tuple[PlanEvent, ...]


class SliceStory(msgspec.Struct, frozen=True, kw_only=True):
    """An EndpointSlice as one virtual server sees it.

    Attributes:
        port: The pods' port, None where the slice does not count; `left_out` says why.
        ready, draining, unready, gone: Number of endpoints; draining ones terminate but serve,
            gone ones terminate and do not.
    """

    name: str
    port: int | None
    left_out: str
    ready: int
    draining: int
    unready: int
    gone: int


class TargetStory(msgspec.Struct, frozen=True, kw_only=True):
    """A node (forwarding mode `pod`: a pod), and what became of it.

    Attributes:
        node: Name of the node, "" where a pod's is unknown.
        address, port, weight: Of the real server; None where it is left out.
        why: What the weight comes from, or why it is left out.
    """

    node: str
    address: str | None
    port: int | None
    weight: int | None
    why: str


class ServerStory(msgspec.Struct, frozen=True, kw_only=True):
    """One port on one address, or a range of ports.

    Attributes:
        last_port: Last port of a range that begins with `port`, None for that port alone.
        port_name: Name of the Service's port, "" for none.
        served: Whether there is a virtual server.
        how: Forwarding mode, scheduler and the like, "" where not served.
        remark: Why there is no virtual server or no real server, "" where there is.
    """

    address: str
    protocol: str
    port: int
    last_port: int | None
    port_name: str
    served: bool
    how: str
    remark: str
    slices: tuple[SliceStory, ...]
    targets: tuple[TargetStory, ...]


class GateStory(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an address may be announced at all: somebody on it must be able to answer.

    Attributes:
        answering: Services on it that have a real server which takes connections.
    """

    address: str
    open: bool
    answering: tuple[str, ...]


class AnnouncementStory(msgspec.Struct, frozen=True, kw_only=True):
    """One address on one edge by one way.

    Attributes:
        way: `vrrp` or `bgp`.
        reason: `announced`, or one word for why not, e.g. `noEndpoints`.
        advertisements: Names of those that take the Service's address to this edge; () also where
            there is no advertisement at all and every address is announced.
    """

    edge: str
    address: str
    way: str
    announced: bool
    reason: str
    message: str
    advertisements: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All about one Service.

    Attributes:
        ours: Whether it is Fairlead's to serve.
        summary: The outcome in a sentence.
    """

    namespace: str
    name: str
    ours: bool
    summary: str
    address: AddressStory
    virtual_servers: tuple[ServerStory, ...]
    gates: tuple[GateStory, ...]
    announcements: tuple[AnnouncementStory, ...]
