# SPDX-License-Identifier: Apache-2.0
"""`python -m fairlead`: the same as the command `fairlead`."""

from fairlead.cli.main import main

main()
