#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes roles/*/README.md from each role's argument specs, the one place where inputs are said.

`tools/role_readmes.py` writes them; with `--check` it only says which are not as they should be.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parent.parent
MARKUP = re.compile(r"\b([BCIMOPRUVL]|RV)\(([^()]*)\)")
WORDS = {"B": "**{}**", "I": "*{}*"}


def main() -> int:
    """Write or check all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    old = []
    for role in sorted(path for path in (TOP / "roles").iterdir() if path.is_dir()):
        path, text = role / "README.md", readme(role)
        if not path.exists() or path.read_text() != text:
            old.append(str(path.relative_to(TOP)))
            if not check:
                path.write_text(text)
    for name in old:
        print(f"{name} {'is not what its argument specs say' if check else 'written'}")
    return int(check and bool(old))


def readme(role: Path) -> str:
    """The page of one role."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    (spec,) = specs.values()
    parts = [f"# fairlead.edge.{role.name}", f"{plain(spec['short_description'])}."]
    parts += [plain(text) for text in texts(spec.get("description"))]
    parts.append(inputs(spec.get("options", {})))
    parts.append(example(role.name, spec.get("options", {})))
    parts.append(
        "Made from `meta/argument_specs.yml` by `tools/role_readmes.py`. Licence: Apache-2.0."
    )
    return "\n\n".join(parts) + "\n"


def inputs(options: dict[str, Any]) -> str:
    """The table of inputs."""
    if not options:
        return "It has no inputs."
    rows = ["| input | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        default = "required" if option.get("required") else f"`{shown(option.get('default'))}`"
        meaning = " ".join(plain(text) for text in texts(option["description"]))
        if "choices" in option:
            meaning += f" One of {', '.join(f'`{one}`' for one in option['choices'])}."
        rows.append(f"| `{name}` | {kind} | {default} | {meaning} |".replace("\n", " "))
    return "\n".join(rows)


def example(name: str, options: dict[str, Any]) -> str:
    """How a playbook names it; the playbooks of the collection do so with `fairlead_*` wired in."""
    required = [one for one, option in options.items() if option.get("required")]
    lines = ["```yaml", "- hosts: edges", "  roles:", f"    - role: fairlead.edge.{name}"]
    if required:
        lines.append("      vars:")
        lines += [f'        {one}: "{{{{ {one.removeprefix(name + "_")} }}}}"' for one in required]
    return "\n".join([*lines, "```"])


def shown(value: Any) -> str:
    """A default as YAML has it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("\n...").removesuffix("...").strip().replace("|", "\\|")


def texts(value: str | list[str] | None) -> list[str]:
    """Paragraphs of a description."""
    return [value] if isinstance(value, str) else list(value or ())


def plain(text: str) -> str:
    """Ansible's markup as Markdown."""
    return MARKUP.sub(lambda one: WORDS.get(one[1], "`{}`").format(one[2]), " ".join(text.split()))


if __name__ == "__main__":
    sys.exit(main())
