# SPDX-License-Identifier: Apache-2.0
"""The lab: a whole installation, real kernels and daemons, on one machine.

Nothing outside namespaces of the lab's own is touched, but one veth in the root namespace and the
state folder. See `docs/lab.md` and `lab/lab --help`.
"""
