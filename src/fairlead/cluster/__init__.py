# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes cluster: watches, lists, writes, rights, definitions.

Which kinds, where and with which rights: the table in `fairlead.snapshot.resources`.
"""
