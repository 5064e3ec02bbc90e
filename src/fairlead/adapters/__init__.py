# SPDX-License-Identifier: Apache-2.0
"""The rim: kernel, files, daemons, API server."""
