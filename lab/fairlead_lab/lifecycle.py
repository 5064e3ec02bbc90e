# SPDX-License-Identifier: Apache-2.0
"""Bringing a whole lab up and down: the order of the parts, one command at a time, clean-up."""

import shutil
from collections.abc import Sequence

from fairlead_lab import network, process
from fairlead_lab.config import LabConfig


def up(cfg: LabConfig, parts: Sequence[str]) -> None:
    """Bring parts up."""
    cfg.state_dir.mkdir(parents=True, exist_ok=True)
    network.up(cfg)
    if "cluster" in parts:
        from fairlead_lab import cluster

        cluster.up(cfg)


def down(cfg: LabConfig) -> None:
    """Remove everything that is this lab's."""
    for record in process.list_all(cfg):
        process.stop(cfg, record.name)
    network.down(cfg)
    process.sweep(cfg)
    shutil.rmtree(cfg.state_dir, ignore_errors=True)
