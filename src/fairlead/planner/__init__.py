# SPDX-License-Identifier: Apache-2.0
"""Snapshot and inventory to plan: pure."""
