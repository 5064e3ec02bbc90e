# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  lock_timeout:
    description:
      - Seconds to wait for the edge's lock, which the agent holds while it changes something.
    type: float
    default: 30
requirements:
  - fairlead >= 0.1.0 under C(/opt/fairlead/current) (the role P(fairlead.edge.edge_base#role) installs it)
notes:
  - Runs under C(/opt/fairlead/current/bin/python), whatever interpreter the inventory names.
  - On a machine where the package is not installed yet, check mode reports that there would be a change.
author:
  - The Fairlead authors (@fairlead)
"""

    PLAN = r"""
options:
  plan:
    description:
      - This edge's slice of the plan, as RV(fairlead.edge.plan#module:plan) has it under C(edges).
    type: dict
    required: true
  pools:
    description:
      - Address ranges that belong to Fairlead, as RV(fairlead.edge.plan#module:pools) returns them.
      - Nothing outside of them is ever removed.
    type: list
    elements: str
    required: true
"""
