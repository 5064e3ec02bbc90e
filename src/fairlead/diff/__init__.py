# SPDX-License-Identifier: Apache-2.0
"""Desired and actual state to an ordered list of changes, as data: pure."""
