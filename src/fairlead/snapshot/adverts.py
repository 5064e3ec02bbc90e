# SPDX-License-Identifier: Apache-2.0
"""Advertisements and communities to the model, with upstream's validation (reference 3.1 to 3.4).

One parser for objects of the cluster and entries of the inventory: `field` is where the fields
stand (`spec`, or `bgp_advertisements[0]`), and whatever names other objects is left as it is,
because they may come later.
"""

from collections.abc import Mapping
from typing import Any

from fairlead.model.advertisement import (
    BgpAdvertisement,
    Community,
    CommunityAlias,
    EdgePreference,
    L2Advertisement,
)
from fairlead.model.communities import MAX_COMMUNITIES, community_text, parse_community
from fairlead.model.errors import ObjectFieldError
from fairlead.snapshot.selectors import (
    no_duplicates,
    parse_names,
    parse_selector,
    parse_selectors,
)
from fairlead.snapshot.text import label_name, subdomain_name
from fairlead.snapshot.wire import Meta
from fairlead.snapshot.wire_adverts import (
    BgpAdvertisementWire,
    BgpSpecWire,
    CommunitySpecWire,
    CommunityWire,
    L2AdvertisementWire,
    L2SpecWire,
    PreferenceWire,
)


def identity(meta: Meta) -> dict[str, Any]:
    """Name, namespace, age and origin of an object; raises `ObjectFieldError`."""
    return {
        "name": subdomain_name(meta.name, "metadata.name"),
        "namespace": label_name(meta.namespace or "default", "metadata.namespace"),
        "created": meta.creation_timestamp or "",
        "origin": "cluster",
    }


def l2_from_wire(wire: L2AdvertisementWire) -> L2Advertisement:
    """Parse an L2Advertisement; raises `ObjectFieldError`."""
    return parse_l2(wire.spec or L2SpecWire(), "spec.", identity(wire.metadata))


def bgp_from_wire(wire: BgpAdvertisementWire) -> BgpAdvertisement:
    """Parse a BGPAdvertisement; raises `ObjectFieldError`."""
    return parse_bgp(wire.spec or BgpSpecWire(), "spec.", identity(wire.metadata))


def community_from_wire(wire: CommunityWire) -> Community:
    """Parse a Community; raises `ObjectFieldError`."""
    return parse_aliases(wire.spec or CommunitySpecWire(), "spec.", identity(wire.metadata))


def parse_l2(spec: L2SpecWire, field: str, who: Mapping[str, Any]) -> L2Advertisement:
    """Parse the fields of an L2Advertisement."""
    return L2Advertisement(
        pools=parse_names(spec.ip_address_pools, f"{field}ipAddressPools"),
        pool_selectors=parse_selectors(
            spec.ip_address_pool_selectors, f"{field}ipAddressPoolSelectors"
        ),
        edge_selectors=parse_selectors(spec.node_selectors, f"{field}nodeSelectors"),
        interfaces=parse_names(spec.interfaces, f"{field}interfaces"),
        service_selectors=parse_selectors(spec.service_selectors, f"{field}serviceSelectors"),
        preferences=tuple(
            _preference(one, f"{field}preferredNodeSelectors[{index}]")
            for index, one in enumerate(spec.preferred_node_selectors or ())
        ),
        **who,
    )


def parse_bgp(spec: BgpSpecWire, field: str, who: Mapping[str, Any]) -> BgpAdvertisement:
    """Parse the fields of a BGPAdvertisement."""
    length = _length(spec.aggregation_length, 32, f"{field}aggregationLength")
    length_v6 = _length(spec.aggregation_length_v6, 128, f"{field}aggregationLengthV6")
    if spec.service_selectors and (length, length_v6) != (32, 128):
        aggregated = "aggregationLength" if length != 32 else "aggregationLengthV6"
        raise ObjectFieldError(
            f"{field}{aggregated}",
            "and serviceSelectors exclude each other: an aggregate is for all of its addresses",
        )
    local_pref = spec.local_pref or None
    if local_pref is not None and not 0 < local_pref < 1 << 32:
        raise ObjectFieldError(f"{field}localPref", f"{local_pref} is not a number of 32 bits")
    return BgpAdvertisement(
        pools=parse_names(spec.ip_address_pools, f"{field}ipAddressPools"),
        pool_selectors=parse_selectors(
            spec.ip_address_pool_selectors, f"{field}ipAddressPoolSelectors"
        ),
        edge_selectors=parse_selectors(spec.node_selectors, f"{field}nodeSelectors"),
        service_selectors=parse_selectors(spec.service_selectors, f"{field}serviceSelectors"),
        peers=parse_names(spec.peers, f"{field}peers"),
        aggregation_length=length,
        aggregation_length_v6=length_v6,
        local_pref=local_pref,
        communities=_communities(spec.communities or [], f"{field}communities"),
        **who,
    )


def parse_aliases(spec: CommunitySpecWire, field: str, who: Mapping[str, Any]) -> Community:
    """Parse the aliases of a Community; each needs a name and a value."""
    aliases = []
    for index, wire in enumerate(spec.communities or ()):
        where = f"{field}communities[{index}]"
        if not wire.name:
            raise ObjectFieldError(f"{where}.name", "an alias needs a name")
        aliases.append(CommunityAlias(wire.name, _value(wire.value or "", f"{where}.value")))
    names = [alias.name for alias in aliases]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ObjectFieldError(f"{field}communities[{index}].name", f"{name!r} is there twice")
    return Community(aliases=tuple(aliases), **who)


def _preference(wire: PreferenceWire, field: str) -> EdgePreference:
    if not 1 <= wire.weight <= 100:
        raise ObjectFieldError(f"{field}.weight", f"{wire.weight} is not in 1..100")
    return EdgePreference(wire.weight, parse_selector(wire.preference, f"{field}.preference"))


def _length(length: int | None, full: int, field: str) -> int:
    if length is None:
        return full
    if not 1 <= length <= full:
        raise ObjectFieldError(field, f"{length} is not in 1..{full}")
    return length


def _communities(texts: list[str], field: str) -> tuple[str, ...]:
    """Communities in their one spelling, and names of aliases as they are."""
    no_duplicates(texts, field)
    if len(texts) > MAX_COMMUNITIES:
        raise ObjectFieldError(field, f"{len(texts)} are more than {MAX_COMMUNITIES}")
    found = []
    for index, text in enumerate(texts):
        where = f"{field}[{index}]"
        if not text:
            raise ObjectFieldError(where, "is empty")
        try:
            numbers = parse_community(text)
        except ValueError as error:
            raise ObjectFieldError(where, str(error)) from None
        found.append(text if numbers is None else community_text(numbers))
    return tuple(found)


def _value(text: str, field: str) -> str:
    try:
        numbers = parse_community(text)
    except ValueError as error:
        raise ObjectFieldError(field, str(error)) from None
    if numbers is None:
        raise ObjectFieldError(field, f"{text!r} is neither a:b nor large:a:b:c")
    return community_text(numbers)
