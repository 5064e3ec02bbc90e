# SPDX-License-Identifier: Apache-2.0
"""What a diff says, in an operator's words."""

from ipaddress import ip_address

from fairlead.diff.changes import rules
from fairlead.diff.ipvs import desired_entry, desired_from, diff, diff_entry, reorder, service_key
from fairlead.model.ipvs import AddressFamily, IpvsEntry, ServiceKey
from fairlead.model.marks import FIRST_MARK, MARK_BITS
from fairlead.model.names import Forwarding, ObjectKey, Protocol
from fairlead.model.plan import RealServer, VirtualServer


def server(*reals, address="192.0.2.1", protocol=Protocol.TCP, port=80, **more):
    values = {"scheduler": "mh", "flags": ("fallback", "port"), "forwarding": Forwarding.DSR}
    return VirtualServer(
        address=ip_address(address),
        protocol=protocol,
        port=port,
        service=ObjectKey("shop", "web"),
        real_servers=tuple(RealServer(ip_address(one), port, weight) for one, weight in reals),
        **(values | more),
    )


def words(changes):
    return [str(change).removeprefix("ipvsadm ") for change in changes]


def everything(_address):
    return True


def nothing(_address):
    return False


ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def test_new_virtual_server_is_built_without_scheduler_then_switched():
    desired = desired_from([server((TWO, 2), (ONE, 1))])
    assert words(diff(desired, {}, everything)) == [
        "-A -t 192.0.2.1:80 -s none -b flag-1,flag-2",
        "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1",
        "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 2",
        "-E -t 192.0.2.1:80 -s mh -b mh-fallback,mh-port",
    ]


def test_schedulers_without_a_table_are_built_directly():
    desired = desired_from([server((ONE, 1), (TWO, 1), scheduler="wlc", flags=())])
    assert words(diff(desired, {}, everything))[0] == "-A -t 192.0.2.1:80 -s wlc"
    assert len(diff(desired, {}, everything)) == 3


def test_weight_alone_is_one_change():
    before = desired_entry(server((ONE, 1), (TWO, 2)))
    after = desired_entry(server((ONE, 1), (TWO, 0)))
    assert words(diff_entry(after, before)) == [
        "-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0  # was -g -w 2"
    ]


def test_leaving_real_server_gets_weight_0_first():
    before = desired_entry(server((ONE, 1), (TWO, 2)))
    after = desired_entry(server((ONE, 1)))
    assert words(diff_entry(after, before)) == [
        "-e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0  # was -g -w 2",
        "-d -t 192.0.2.1:80 -r 10.0.0.2:80",
    ]


def test_drained_real_server_is_just_removed():
    before = desired_entry(server((ONE, 1), (TWO, 0)))
    assert words(diff_entry(desired_entry(server((ONE, 1))), before)) == [
        "-d -t 192.0.2.1:80 -r 10.0.0.2:80"
    ]


def test_udp_real_server_is_removed_at_once():
    before = desired_entry(server((ONE, 1), (TWO, 2), protocol=Protocol.UDP))
    after = desired_entry(server((ONE, 1), protocol=Protocol.UDP))
    assert words(diff_entry(after, before)) == ["-d -u 192.0.2.1:80 -r 10.0.0.2:80"]


def test_additions_come_before_changes_and_removals():
    before = desired_entry(server((ONE, 1), (TWO, 2)))
    after = desired_entry(server((TWO, 3), (THREE, 1)))
    verbs = [word.split()[0] for word in words(diff_entry(after, before))]
    assert verbs == ["-a", "-e", "-e", "-d"]


def test_scheduler_and_persistence_are_set_in_place():
    before = desired_entry(server((ONE, 1)))
    after = desired_entry(server((ONE, 1), flags=("fallback",), persistence_seconds=10800))
    assert words(diff_entry(after, before)) == [
        "-E -t 192.0.2.1:80 -s mh -p 10800 -b mh-fallback  # was -s mh -b mh-fallback,mh-port"
    ]


def test_foreign_virtual_servers_stay_and_own_ones_go():
    actual = desired_from([server((ONE, 1)), server((ONE, 1), address="203.0.113.9")])
    changes = diff({}, actual, lambda address: str(address).startswith("192.0.2."))
    assert words(changes) == ["-D -t 192.0.2.1:80"]
    assert diff({}, actual, nothing) == []


def test_only_marks_of_the_reserved_range_are_ours():
    entry = desired_entry(server((ONE, 1)))
    marks = (
        7,
        FIRST_MARK - 1,
        FIRST_MARK,
        FIRST_MARK + 2**MARK_BITS - 1,
        FIRST_MARK + 2**MARK_BITS,
    )
    ours = {mark for mark in marks if diff({}, {mark_key(mark): entry}, nothing)}
    assert ours == {FIRST_MARK, FIRST_MARK + 2**MARK_BITS - 1}
    assert diff({}, {mark_key(FIRST_MARK): entry}, None) == [], "None prunes nothing"


def mark_key(mark):
    return ServiceKey.of_fwmark(AddressFamily.INET, mark)


def test_a_range_of_ports_is_built_by_its_mark():
    ranged = server((ONE, 1), (TWO, 1), port=10_000, last_port=20_000, mark=FIRST_MARK)
    assert words(diff_entry(desired_entry(ranged), None))[-1] == (
        f"-E -f {FIRST_MARK} -s mh -b mh-fallback,mh-port"
    )


def test_order_alone_is_no_change_but_can_be_put_right():
    canonical = desired_entry(server((ONE, 1), (TWO, 1), (THREE, 1)))
    grown = IpvsEntry(canonical.service, (canonical.dests[0], *canonical.dests[:0:-1]))
    assert diff_entry(canonical, grown) == []
    assert words(reorder(canonical, grown)) == [
        "-d -t 192.0.2.1:80 -r 10.0.0.3:80",
        "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1",
    ]
    assert reorder(canonical, canonical) == []


def test_reorder_leaves_unsettled_entries_alone():
    canonical = desired_entry(server((ONE, 1), (TWO, 1)))
    reweighed = desired_entry(server((ONE, 1), (TWO, 5)))
    turned = IpvsEntry(reweighed.service, reweighed.dests[::-1])
    assert reorder(canonical, turned) == []


def test_plan_order_does_not_matter():
    assert desired_entry(server((TWO, 2), (ONE, 1))) == desired_entry(server((ONE, 1), (TWO, 2)))


def test_families_and_modes():
    v6 = server(("fd00::1", 1), address="2001:db8::1", forwarding=Forwarding.TUNNEL)
    entry = desired_entry(v6)
    assert entry.service.prefix == 128
    assert rules({service_key(v6): entry}) == [
        "-A -t [2001:db8::1]:80 -s mh -b mh-fallback,mh-port",
        "-a -t [2001:db8::1]:80 -r [fd00::1]:80 -i -w 1",
    ]
    masquerade = desired_entry(server((ONE, 1), forwarding=Forwarding.MASQUERADE))
    assert "-m" in rules({masquerade.service.key: masquerade})[1]
