# SPDX-License-Identifier: Apache-2.0
"""Plan to daemons' configuration files: pure."""
