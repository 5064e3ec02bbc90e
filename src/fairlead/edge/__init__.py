# SPDX-License-Identifier: Apache-2.0
"""What an edge holds: kernel tables, addresses, files of daemons."""
