# SPDX-License-Identifier: Apache-2.0
"""The project's figures, measured: `make bench`, or `python -m bench.NAME` for one."""
