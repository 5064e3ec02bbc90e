# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of this collection share: the way to the package, and to its errors.

The behaviour lives in the Python package `fairlead`, which the controller has in Ansible's own
environment and an edge under /opt/fairlead/current. Nothing here decides what an edge should hold.
"""

from __future__ import annotations

import os
import sys
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, respawn_module

try:
    import fairlead

    HAS_FAIRLEAD = True
    FAIRLEAD_ERROR = None
except ImportError:
    HAS_FAIRLEAD = False
    FAIRLEAD_ERROR = traceback.format_exc()

# Modules and package are released together; an older package may lack what a module calls.
PACKAGE_FLOOR = (0, 1, 0)
EDGE_PYTHON = "/opt/fairlead/current/bin/python"


def edge_module(argument_spec, reads_only=False, **kwargs):
    """Return an AnsibleModule that runs under the interpreter shipped to edges.

    On a machine that has no such interpreter yet, check mode says what would happen, and a module
    that only reads says that there is nothing yet.
    """
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **kwargs)
    if HAS_FAIRLEAD:
        _check_floor(module, "run the role fairlead.edge.edge_base on this edge")
        return module
    if os.path.exists(EDGE_PYTHON) and not has_respawned():
        respawn_module(EDGE_PYTHON)
    if module.check_mode or reads_only:
        module.exit_json(
            changed=not reads_only,
            installed=False,
            msg="fairlead is not installed here yet: once the role edge_base has installed it, "
            "this module can do its part",
        )
    module.fail_json(
        msg="The package fairlead is not importable by %s nor by %s: run the role "
        "fairlead.edge.edge_base on this edge" % (sys.executable, EDGE_PYTHON),
        exception=FAIRLEAD_ERROR,
    )


def controller_module(argument_spec, **kwargs):
    """Return an AnsibleModule that needs the package in Ansible's own environment."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **kwargs)
    if not HAS_FAIRLEAD:
        module.fail_json(
            msg=missing_required_lib(
                "fairlead",
                reason="on the controller; install it into Ansible's environment and delegate to "
                "localhost with ansible_python_interpreter={{ ansible_playbook_python }}",
            ),
            exception=FAIRLEAD_ERROR,
        )
    _check_floor(module, "pip install --upgrade fairlead in Ansible's environment")
    return module


def _check_floor(module, remedy):
    found = fairlead.__version__
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
    if numbers < PACKAGE_FLOOR:
        module.fail_json(
            msg="The package fairlead here is %s, this collection needs at least %s: %s"
            % (found, ".".join(map(str, PACKAGE_FLOOR)), remedy)
        )


def run(module, act):
    """Run the body of a module; errors of the package become the module's failure."""
    from fairlead.model.errors import FairleadError  # pylint: disable=import-error

    try:
        result = act(module)
    except FairleadError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
