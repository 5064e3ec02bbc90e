# SPDX-License-Identifier: Apache-2.0
"""Fairlead: the load balancer of a bare-metal Kubernetes cluster, on machines in front of it."""

__version__ = "0.1.0"
