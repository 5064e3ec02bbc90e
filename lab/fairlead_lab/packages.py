# SPDX-License-Identifier: Apache-2.0
"""The guests' Debian packages over http, from the control plane's address on the LAN.

Guests have no way out of the lab; what they can install is what `image.OFFERED_PACKAGES` names.
"""

import sys

from fairlead_lab import netns, network, process
from fairlead_lab.config import LabConfig
from fairlead_lab.image import Image
from fairlead_lab.waiting import wait_until

PORT = 3142
PROCESS = "packages"


def url(cfg: LabConfig) -> str:
    """Where the guests find the repository."""
    return f"http://{cfg.control_plane_address}:{PORT}"


def serve(cfg: LabConfig, image: Image) -> None:
    """Start the server and wait until it listens.

    Raises:
        process.ProcessError: it does not come up.
    """
    space = network.attach_host(cfg, "cp")
    argv = (
        *(sys.executable, "-m", "http.server", str(PORT)),
        *("--bind", cfg.control_plane_address, "--directory", str(image.packages)),
    )
    running = process.load(cfg, PROCESS)
    if running and running.argv[-len(argv) :] != argv:  # serves an older image's packages
        process.stop(cfg, PROCESS)
    process.spawn(cfg, PROCESS, argv, netns=space)

    def listens() -> bool:
        if not process.alive(cfg, PROCESS):
            raise process.ProcessError(f"the package server ended; see {cfg.log_dir / PROCESS}.log")
        with netns.open_socket(space) as sock:
            sock.settimeout(1)
            return sock.connect_ex((cfg.control_plane_address, PORT)) == 0

    wait_until(f"the package server on {url(cfg)}", listens, 10)
