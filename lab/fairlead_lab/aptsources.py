# SPDX-License-Identifier: Apache-2.0
"""Where this machine gets Debian itself from, read out of apt's own active sources.

A machine keeps disabled files and third parties' repositories beside Debian's: only what apt would
read counts (`sources.list`, `*.list`, `*.sources`, enabled), and of that only what carries the
release itself. Formats: sources.list(5). No input or output here but `read_sources`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_OPTIONS = re.compile(r"\[([^\]]*)\]")


class SourcesError(Exception):
    """No active source serves Debian; the message says what was looked for."""


@dataclass(frozen=True)
class Source:
    """One repository in one suite, of binary packages."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def line(self, suite: str | None = None) -> str:
        """The source as a one-line entry, trusting Debian's own keys."""
        parts = ("deb", f"[signed-by={KEYRING}]", self.uri, suite or self.suite, *self.components)
        return " ".join(parts)


def parse_list(text: str) -> list[Source]:
    """Parse the one-line style: `deb [option=value] uri suite component...`."""
    found = []
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if not line.startswith(("deb ", "deb\t")):
            continue
        options = dict(
            pair.split("=", 1)
            for match in _OPTIONS.findall(line)
            for pair in match.split()
            if "=" in pair
        )
        words = _OPTIONS.sub(" ", line).split()
        if len(words) >= 4:
            found.append(Source(words[1], words[2], tuple(words[3:]), options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Parse the deb822 style: paragraphs of `Field: value`, continued by leading blanks."""
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in {
            "no",
            "false",
            "without",
            "off",
            "disable",
            "0",
        }:
            continue
        found += [
            Source(
                uri,
                suite,
                tuple(fields.get("components", "").split()),
                fields.get("signed-by", "").strip(),
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    current = ""
    for line in paragraph.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if current:
                fields[current] += f"\n{line.strip()}"
        elif ":" in line:
            key, value = line.split(":", 1)
            current = key.strip().lower()
            fields[current] = value.strip()
    return fields


def debian_sources(sources: Iterable[Source], host: str, wanted: str) -> list[str]:
    """Entries for `wanted`, from the sources that give this machine its own release `host`.

    The release itself comes first, then its updates and security suites if this machine has them.

    Raises:
        SourcesError: no source carries `host` with the component main.
    """
    usable = [s for s in sources if "main" in s.components and _may_be_debian(s)]
    base = sorted((s for s in usable if s.suite == host), key=_doubt)
    if not base:
        raise SourcesError(
            f"no active apt source serves Debian {host} (suite {host}, component main): look at "
            "/etc/apt/sources.list and /etc/apt/sources.list.d/*.{list,sources}"
        )
    chosen = [Source(base[0].uri, wanted, ("main",))]
    for suffix in ("updates", "security"):
        more = sorted((s for s in usable if s.suite == f"{host}-{suffix}"), key=_doubt)
        chosen += [Source(s.uri, f"{wanted}-{suffix}", ("main",)) for s in more[:1]]
    return [source.line() for source in chosen]


def _may_be_debian(source: Source) -> bool:
    """A source that is signed by a key of somebody else is somebody else's."""
    return not source.signed_by or "debian-archive" in source.signed_by or "\n" in source.signed_by


def _doubt(source: Source) -> int:
    """How unlikely it is that a source is Debian's: by keyring, then by the usual path."""
    path = source.uri.rstrip("/").rsplit("/", 1)[-1]
    return 2 * ("debian-archive" not in source.signed_by) + (not path.startswith("debian"))


def read_sources(root: Path = APT) -> list[Source]:
    """Every active source of this machine."""
    found: list[Source] = []
    single = root / "sources.list"
    lists = [*([single] if single.is_file() else []), *sorted(root.glob("sources.list.d/*.list"))]
    for file in lists:
        found += parse_list(file.read_text(errors="replace"))
    for file in sorted(root.glob("sources.list.d/*.sources")):
        found += parse_deb822(file.read_text(errors="replace"))
    return found


def host_release(os_release: Path = Path("/etc/os-release")) -> str:
    """Codename of this machine's Debian.

    Raises:
        SourcesError: this is not a Debian release.
    """
    fields = dict(line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
    name = fields.get("VERSION_CODENAME", "").strip('"')
    if fields.get("ID", "").strip('"') != "debian" or not name:
        raise SourcesError(f"this machine is {fields.get('PRETTY_NAME', 'unknown')}, not Debian")
    return name
