# SPDX-License-Identifier: Apache-2.0
"""Which repository the guests are built from: apt's active sources, and Debian's among them."""

from pathlib import Path

import pytest

from fairlead_lab.aptsources import (
    KEYRING,
    Source,
    SourcesError,
    debian_sources,
    host_release,
    parse_deb822,
    parse_list,
    read_sources,
)

DEB822 = f"""\
# a comment
Types: deb deb-src
# another one
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_paragraphs_become_sources():
    assert parse_deb822(DEB822) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib"), KEYRING),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "contrib"), KEYRING),
        Source("http://mirror.example/debian-security/", "bookworm-security", ("main",), KEYRING),
    ]


def test_one_line_entries_become_sources():
    text = (
        "# deb http://commented.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # why\n"
        "deb-src http://a.example/debian bookworm main\n"
        "deb\thttp://b.example/debian\tbookworm\tmain\n"
        "deb http://broken.example\n"
    )
    assert parse_list(text) == [
        Source("http://a.example/debian", "bookworm", ("main", "contrib"), "/k.gpg"),
        Source("http://b.example/debian", "bookworm", ("main",), ""),
    ]


def test_only_active_files_are_read(tmp_path: Path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    entry = "deb http://{}.example/debian bookworm main\n"
    (tmp_path / "sources.list").write_text(entry.format("single"))
    (folder / "more.list").write_text(entry.format("more"))
    (folder / "old.list.disabled").write_text(entry.format("old"))
    (folder / "x.sources.save").write_text(DEB822)
    (folder / "y.sources").write_text(DEB822)
    hosts = [source.uri.split("/")[2] for source in read_sources(tmp_path)]
    assert hosts == ["single.example", "more.example", *["mirror.example"] * 3]


def test_third_parties_are_passed_over():
    sources = [
        Source("http://third.example/debian", "bookworm", ("main",), "/usr/share/keyrings/v.gpg"),
        Source("http://docker.example/linux/debian", "bookworm", ("stable",)),
        Source("http://plain.example/tools", "bookworm", ("main",)),
        *parse_deb822(DEB822),
    ]
    trust = f"[signed-by={KEYRING}]"
    assert debian_sources(sources, "bookworm", "bookworm") == [
        f"deb {trust} http://mirror.example/debian bookworm main",
        f"deb {trust} http://mirror.example/debian bookworm-updates main",
        f"deb {trust} http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_another_release_comes_from_the_same_place():
    lines = debian_sources(parse_deb822(DEB822), "bookworm", "trixie")
    assert [line.split()[-2] for line in lines] == ["trixie", "trixie-updates", "trixie-security"]


def test_a_mirror_under_an_unusual_path_serves_when_there_is_no_better():
    only = Source("http://m.example/repo", "trixie", ("main",))
    lines = debian_sources([only], "trixie", "trixie")
    assert lines == [f"deb [signed-by={KEYRING}] http://m.example/repo trixie main"]


def test_no_source_is_an_error_that_says_where_to_look():
    with pytest.raises(SourcesError, match=r"trixie.*sources\.list\.d"):
        debian_sources(parse_deb822(DEB822), "trixie", "trixie")


def test_the_machine_must_be_debian(tmp_path: Path):
    file = tmp_path / "os-release"
    file.write_text('ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n')
    assert host_release(file) == "bookworm"
    file.write_text('ID=ubuntu\nVERSION_CODENAME=noble\nPRETTY_NAME="Ubuntu 24.04"\n')
    with pytest.raises(SourcesError, match="Ubuntu"):
        host_release(file)
