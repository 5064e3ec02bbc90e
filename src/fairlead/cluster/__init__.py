# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes cluster: watches, lists, writes, rights, definitions."""
