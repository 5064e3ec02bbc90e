# SPDX-License-Identifier: Apache-2.0
"""The kubeconfig: how to reach the API server, kept as the file changes; imports `kubernetes`.

The official client does what is tedious and security-relevant: kubeconfig, in-cluster token, CA and
client certificates, exec plugins, proxies. What it raises is not of one family (a file that is not
YAML, not a mapping, not base64, ... each has its own), and its sentences may repeat an entry with
its token; both stop here.
"""

import logging
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import urllib3
from kubernetes import client, config
from urllib3.connection import HTTPConnection

from fairlead.model.errors import FairleadError

log = logging.getLogger(__name__)

# A peer that vanished without a FIN (power loss, cut cable) is found in about 25 s even on a watch
# that never sends: probe after 10 s of silence, three probes 5 s apart; unacknowledged writes
# give up after 20 s.
SOCKET_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
]
_SCHEMES = ("http://", "https://")


class KubeConfigError(FairleadError):
    """The kubeconfig can't be used."""


@dataclass(frozen=True)
class Connection:
    """One API server and how to speak to it.

    Attributes:
        host: Its URL, without a slash at the end.
        generation: Counts the files that were loaded, from 1: whoever holds something of an older
            one (a resourceVersion, an open watch) may hold something of another API server.
    """

    host: str
    pool: urllib3.PoolManager
    settings: client.Configuration
    generation: int


class KubeConfig:
    """The settings in force; safe to share between threads.

    Attributes:
        connection: Those of the last file that could be used.
        error: Why the file as it stands now can't be used, "" while it can.
    """

    def __init__(self, path: Path | None) -> None:
        """Load the file; None takes the service account of a pod.

        Raises:
            KubeConfigError: It can't be read or lacks what is needed.
        """
        self._path, self._lock = path, threading.Lock()
        self._content = _content(path)
        self.connection = _load(path, 1)
        self.error = ""

    def authorization(self) -> str | None:
        """Value of the header, None without one; raises what an exec plugin or a token file do."""
        with self._lock:  # the hook behind this call may read a rotated token
            token: str | None = self.connection.settings.get_api_key_with_prefix("BearerToken")
        return token

    def refresh(self) -> None:
        """Load the file anew if it changed; one that can't be used leaves what is in force.

        To be called whenever a request failed. Content is compared, not the time stamp: a file that
        was caught half-written may be complete within the same tick. One that could not be used is
        tried again at each call.
        """
        if self._path is None:
            return
        with self._lock:
            try:
                content = _content(self._path)
                if content != self._content:
                    self.connection = _load(self._path, self.connection.generation + 1)
                    self._content = content
                    log.info("kubeconfig read anew: API server %s", self.connection.host)
            except KubeConfigError as error:
                if str(error) != self.error:
                    log.warning("%s; the last good settings stay in force", error)
                self.error = str(error)
            else:
                self.error = ""


def _content(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path else b""
    except OSError as error:
        raise _unusable(path, error) from error


def _load(path: Path | None, generation: int) -> Connection:
    settings = client.Configuration()
    settings.socket_options = SOCKET_OPTIONS
    settings.connection_pool_maxsize = 16  # one per watch, and the writers'
    try:
        if path is None:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(path), client_configuration=settings
            )
        _check(settings)
        pool = client.ApiClient(settings).rest_client.pool_manager
    except Exception as error:
        raise _unusable(path, error) from error
    if not settings.verify_ssl:
        # The operator asked for it; once is enough, urllib3 would say it at every request.
        log.warning("kubeconfig switches off TLS verification: the API server is not verified")
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return Connection(settings.host.rstrip("/"), pool, settings, generation)


def _check(settings: client.Configuration) -> None:
    """Raise for a URL, CA or certificate that would fail at each request instead."""
    if not settings.host.startswith(_SCHEMES):
        raise KubeConfigError(f"server {settings.host!r} is not a URL")
    if settings.ssl_ca_cert:
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)


def _unusable(path: Path | None, error: Exception) -> KubeConfigError:
    text = " ".join(str(error).split()) or type(error).__name__
    # The client names an entry by all that it holds: /path/{'name': ..., 'token': ...}
    text = re.sub(r"(\S*/)\{.*", r"\1(entry)", text)
    where = path or "in-cluster service account"
    return KubeConfigError(
        f"kubeconfig {where}: {text}; check the path that is configured, and the file"
    )
