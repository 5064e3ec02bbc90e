# SPDX-License-Identifier: Apache-2.0
"""The agent's configuration file, `/etc/fairlead/agent.yaml`: this edge's own facts.

What the whole edge group shares (edges, pools, modes) stands in the inventory document that this
file points to.
"""

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

import msgspec

from fairlead.model.errors import FairleadError


class AgentConfigError(FairleadError):
    """The agent's configuration can't be used."""


class LogFormat(StrEnum):
    """How log lines look: `text` for journald and people, `json` for collectors."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """Least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of agent.yaml.

    Attributes:
        edge: Name of this edge in the inventory document.
        kubeconfig: None takes the service account of a pod.
        inventory: The inventory document.
        namespace: Where the Lease lives.
        lease: Name of the Lease; all edges of a group share it, and the group's name is put behind
            it where it is not the default group.
        metrics_listen: `address:port` of the Prometheus endpoint, "" for none.
        resync_seconds: How often everything is compared anew (with a tenth of jitter); this is what
            repairs changes made by others, since IPVS tells nobody about them.
        announce: Whether this agent changes addresses and announcements at all.
        vrrp_conf, keepalived_pid: The rendered file, and keepalived's parent.
        bird_conf, bird_control: The rendered file, and BIRD's control socket.
        runtime_dir: Home of status.json and the edge lock.
    """

    edge: str
    kubeconfig: Path | None = None
    inventory: Path = Path("/etc/fairlead/edges.yaml")
    namespace: str = "fairlead-system"
    lease: str = "fairlead-agent"
    metrics_listen: str = "127.0.0.1:9120"
    resync_seconds: float = 30.0
    announce: bool = True
    vrrp_conf: Path = Path("/etc/fairlead/keepalived/vrrp.conf")
    keepalived_pid: Path = Path("/run/keepalived.pid")
    bird_conf: Path = Path("/etc/fairlead/bird/fairlead.conf")
    bird_control: Path = Path("/run/bird/bird.ctl")
    runtime_dir: Path = Path("/run/fairlead")
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.TEXT

    @property
    def status_file(self) -> Path:
        """What `fairlead status` reads."""
        return self.runtime_dir / "status.json"

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Address and port of the Prometheus endpoint, None without one."""
        if not self.metrics_listen:
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        return host.strip("[]"), int(port)


def load_config(path: Path) -> AgentConfig:
    """Read and check agent.yaml.

    Raises:
        AgentConfigError: It can't be read, or a key is wrong; names the key.
    """
    try:
        config = msgspec.yaml.decode(path.read_bytes(), type=AgentConfig, dec_hook=_decode)
    except OSError as error:
        raise AgentConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise AgentConfigError(f"{path}: {error}") from error
    _check(path, config)
    return config


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


def _check(path: Path, config: AgentConfig) -> None:
    if not config.edge:
        raise AgentConfigError(f"{path}: edge: must name this edge as the inventory does")
    if config.resync_seconds < 1:
        raise AgentConfigError(f"{path}: resync_seconds: at least 1, got {config.resync_seconds}")
    try:
        listen = config.metrics_address
        valid = listen is None or (bool(ip_address(listen[0])) and 0 < listen[1] < 65536)
    except ValueError:
        valid = False
    if not valid:
        raise AgentConfigError(
            f"{path}: metrics_listen: expected ADDRESS:PORT such as 127.0.0.1:9120, "
            f"got {config.metrics_listen!r}"
        )
