# SPDX-License-Identifier: Apache-2.0
"""Facts of this machine without which figures mean nothing."""

import os
import platform
import time
from pathlib import Path


def facts() -> dict[str, object]:
    """Processor, kernel, Python, load at this moment, date."""
    memory = next(
        line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")
    )
    models = {
        line.partition(":")[2].strip()
        for line in _lines("/proc/cpuinfo")
        if line.startswith("model name")
    }
    return {
        "cpu": ", ".join(sorted(models)) or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory) / 2**20),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def line(found: dict[str, object]) -> str:
    """The facts in one line."""
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
