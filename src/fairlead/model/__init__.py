# SPDX-License-Identifier: Apache-2.0
"""Frozen typed values; no input or output, no Kubernetes JSON."""
