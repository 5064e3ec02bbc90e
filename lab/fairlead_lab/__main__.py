# SPDX-License-Identifier: Apache-2.0
"""`python -m fairlead_lab`: the same as `lab/lab`."""

from fairlead_lab.cli import main

if __name__ == "__main__":
    main()
