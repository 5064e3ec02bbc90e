#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Pack the package and its locked dependencies for edges
description:
  - Runs on the controller. Builds one archive per kind of machine, from the very package that plans on
    the controller and from hash-locked wheels for the edge's Python, so that edges need no index.
  - The name of a release changes whenever its content would, so nothing is built twice.
version_added: 0.1.0
extends_documentation_fragment:
  - fairlead.edge.attributes
attributes:
  diff_mode:
    support: none
options:
  python_version:
    description:
      - Major and minor version of the edge's Python.
    type: str
    required: true
  machine:
    description:
      - The edge's machine, as the kernel names it.
    type: str
    default: x86_64
  interpreter:
    description:
      - The edge's Python.
    type: str
    default: /usr/bin/python3
  requirements:
    description:
      - Hash-locked requirements in pip's format.
    type: path
    required: true
  cache:
    description:
      - Directory of built archives.
    type: path
    required: true
requirements:
  - fairlead >= 0.1.0 in Ansible's own environment on the controller
author:
  - The Fairlead authors (@fairlead)
"""

EXAMPLES = r"""
- name: Build the release for this kind of machine
  fairlead.edge.release:
    python_version: "3.11"
    machine: x86_64
    requirements: requirements/edge.txt
    cache: ~/.cache/fairlead/releases
  delegate_to: localhost
"""

RETURN = r"""
name:
  description: Name of the release.
  returned: success
  type: str
  sample: 0.1.0-82234c5171b1
archive:
  description: The archive on the controller.
  returned: success
  type: str
  sample: /root/.cache/fairlead/releases/fairlead-0.1.0-82234c5171b1.tar.gz
present:
  description: Whether the archive exists; V(false) only in check mode.
  returned: success
  type: bool
  sample: true
"""

from ansible_collections.fairlead.edge.plugins.module_utils._core import controller_module, run


def act(module):
    from pathlib import Path

    from fairlead.edge.release import Target, build_release, release_for

    params = module.params
    target = Target(params["python_version"], params["machine"], params["interpreter"])
    requirements = Path(params["requirements"])
    release = release_for(target, requirements, Path(params["cache"]))
    missing = not release.archive.exists()
    if missing and not module.check_mode:
        build_release(release, target, requirements)
    return dict(
        changed=missing,
        name=release.name,
        archive=str(release.archive),
        present=release.archive.exists(),
    )


def main():
    options = dict(
        python_version=dict(type="str", required=True),
        machine=dict(type="str", default="x86_64"),
        interpreter=dict(type="str", default="/usr/bin/python3"),
        requirements=dict(type="path", required=True),
        cache=dict(type="path", required=True),
    )
    run(controller_module(options), act)


if __name__ == "__main__":
    main()
