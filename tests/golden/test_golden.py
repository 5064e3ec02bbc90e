# SPDX-License-Identifier: Apache-2.0
"""Rendered files equal their golden twins, and the daemons' own parsers accept the twins."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead.render import masquerade_layout, render_bird, render_iptables, render_keepalived
from fairlead.render.nft_layout import render_layout
from fairlead.render.port_marks import marks_layout, render_marks_iptables
from golden import cases

HERE = Path(__file__).parent
NETNS = "fairlead-golden"

RENDERED: dict[str, Callable[[], str]] = {
    **{
        f"keepalived/{name}.conf": lambda value=value: render_keepalived(value)
        for name, value in cases.KEEPALIVED.items()
    },
    **{
        f"bird/{name}.conf": lambda value=value: render_bird(cases.EDGE, value).text
        for name, value in cases.BIRD.items()
    },
    **{
        f"nft/{name}.nft": lambda value=value: render_layout(masquerade_layout(value), (), ())
        for name, value in cases.NFT.items()
    },
    **{
        f"nft/{name}.iptables{version}": lambda value=value, version=version: render_iptables(
            value, version
        )
        for name, value in cases.NFT.items()
        for version in (4, 6)
    },
    **{
        f"nft/{name}.nft": lambda value=value: render_layout(marks_layout(value), (), ())
        for name, value in cases.MARKS.items()
    },
    **{
        f"nft/{name}.iptables{version}": lambda value=value, version=version: render_marks_iptables(
            {one for one in value if one.address.version == version}
        )
        for name, value in cases.MARKS.items()
        for version in (4, 6)
    },
}


@pytest.mark.parametrize("twin", sorted(RENDERED))
def test_rendered_text_equals_its_twin(twin: str, update_golden: bool) -> None:
    path = HERE / twin
    text = RENDERED[twin]()
    if update_golden:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_no_twin_is_orphaned() -> None:
    found = {
        str(path.relative_to(HERE))
        for folder in ("keepalived", "bird", "nft")
        for path in (HERE / folder).iterdir()
    }
    assert found == set(RENDERED)


@pytest.fixture(scope="module")
def edge_namespace() -> Iterator[str]:
    """A network namespace with the interface that the twins name."""
    _run("ip", "netns", "add", NETNS)
    try:
        _run("ip", "-n", NETNS, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        _run("ip", "-n", NETNS, "addr", "add", "192.0.2.11/24", "dev", "eth0")
        _run("ip", "-n", NETNS, "link", "set", "eth0", "up")
        yield NETNS
    finally:
        _run("ip", "netns", "del", NETNS)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("twin", sorted(t for t in RENDERED if t.startswith("keepalived/")))
def test_keepalived_accepts(twin: str, edge_namespace: str) -> None:
    _run("ip", "netns", "exec", edge_namespace, "keepalived", "-t", "-f", str(HERE / twin))


@pytest.mark.parametrize("twin", sorted(t for t in RENDERED if t.startswith("bird/")))
def test_bird_accepts(twin: str) -> None:
    _run("bird", "-p", "-c", str(HERE / twin))


@pytest.mark.parametrize("twin", sorted(t for t in RENDERED if t.endswith(".nft")))
def test_nft_accepts_and_loads_twice(twin: str, edge_namespace: str) -> None:
    for _ in range(2):
        _run("ip", "netns", "exec", edge_namespace, "nft", "-f", str(HERE / twin))
