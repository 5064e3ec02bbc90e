# SPDX-License-Identifier: Apache-2.0
"""HTTP towards the API server; the only file that imports `kubernetes`.

The official client does what is tedious and security-relevant: kubeconfig, in-cluster token, CA and
client certificates, proxies. Its typed models are not used: a typed watch costs 1.5 ms of CPU per
EndpointSlice where msgspec on the same bytes costs 60 us, so requests go to its urllib3 pool and
bytes come back.
"""

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
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
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
MERGE_PATCH = "application/merge-patch+json"


class _Status(msgspec.Struct):
    """The part of a `Status` object that says what went wrong."""

    reason: str = ""
    message: str = ""
    code: int = 0


class ApiError(FairleadError):
    """The API server answered, and the answer is no.

    Attributes:
        status: HTTP status code.
        reason: `reason` of the Status object ("Conflict", "Expired", ...), "" without one.
    """

    def __init__(self, method: str, path: str, status: int, body: bytes = b"") -> None:
        detail = _Status()
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            detail = msgspec.json.decode(body, type=_Status)
        text = detail.message or body[:200].decode("utf-8", "replace").strip()
        super().__init__(f"API server: {method} {path}: HTTP {status} {detail.reason}: {text}")
        self.status = status
        self.reason = detail.reason


class ApiUnavailableError(FairleadError):
    """The API server could not be reached or went away in mid-answer."""


class KubeConfigError(FairleadError):
    """The kubeconfig can't be used."""


class ApiStream:
    """The open body of a watch; `read` blocks until bytes arrive."""

    def __init__(self, response: urllib3.BaseHTTPResponse, path: str) -> None:
        self._response = response
        self._path = path

    def read(self) -> bytes:
        """Return what has arrived, at least one byte; b"" at the end of the body.

        Raises:
            ApiUnavailableError: Connection broken, or silent beyond the read timeout.
        """
        try:
            # read1 hands over each chunk as it comes; `read` would wait for a full buffer.
            return self._response.read1(1 << 20)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: the file was closed by `close` from another thread.
            raise ApiUnavailableError(f"API server: watch {self._path}: {error}") from error

    def close(self) -> None:
        """Drop the connection; safe from any thread, and wakes a blocked `read`."""
        with contextlib.suppress(Exception):
            self._response.shutdown()
        with contextlib.suppress(Exception):
            self._response.close()


class KubeApi:
    """Requests to one API server; safe to share between threads."""

    def __init__(self, kubeconfig: Path | None) -> None:
        """Read the kubeconfig; None takes the service account of a pod.

        Raises:
            KubeConfigError: It can't be read or lacks what is needed.
        """
        self._kubeconfig = kubeconfig
        self._lock = threading.Lock()
        self._stamp = 0
        self._load()

    def _load(self) -> None:
        settings = client.Configuration()
        settings.socket_options = SOCKET_OPTIONS
        settings.connection_pool_maxsize = 16  # one per watch, and the writers'
        try:
            if self._kubeconfig is None:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            else:
                self._stamp = self._kubeconfig.stat().st_mtime_ns
                config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=str(self._kubeconfig), client_configuration=settings
                )
            pool = client.ApiClient(settings).rest_client.pool_manager
        except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
            where = self._kubeconfig or "in-cluster service account"
            raise KubeConfigError(
                f"kubeconfig {where}: {error}; check the path that is configured, and the file"
            ) from error
        if not settings.verify_ssl:
            # The operator asked for it; once is enough, urllib3 would say it at every request.
            log.warning("kubeconfig switches off TLS verification: the API server is not verified")
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._settings, self._pool, self._host = settings, pool, settings.host.rstrip("/")

    def reload(self) -> None:
        """Read the kubeconfig again if it changed: after a 401, a playbook may have rotated it."""
        with self._lock:
            if self._kubeconfig is None:
                return
            with contextlib.suppress(OSError, KubeConfigError):
                if self._kubeconfig.stat().st_mtime_ns != self._stamp:
                    self._load()

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "fairlead-agent"}
        with self._lock:  # the hook behind this call may re-read a rotated token
            token = self._settings.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        if content_type is not None:
            headers["Content-Type"] = content_type
        return headers

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        read_timeout: float = READ_TIMEOUT,
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pool.request(
                method,
                url,
                body=body,
                headers=self._headers(content_type),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnavailableError(f"API server: {method} {path}: {error}") from error

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> bytes:
        """Send one request (`path` starts with `/api`, `body` is sent as JSON); return the answer.

        Raises:
            ApiError: Any other status.
            ApiUnavailableError: No answer.
        """
        payload = None if body is None else msgspec.json.encode(body)
        response = self._open(
            method,
            path,
            query or {},
            body=payload,
            content_type=content_type if payload is not None else None,
        )
        data = self._body(response, method, path)
        if not 200 <= response.status < 300:
            self._note(response.status)
            raise ApiError(method, path, response.status, data)
        return data

    def stream(
        self, path: str, query: Mapping[str, str | int], *, read_timeout: float
    ) -> ApiStream:
        """Open a watch.

        Raises:
            ApiError: The API server refused it (410: the resourceVersion is too old).
            ApiUnavailableError: No answer.
        """
        response = self._open("GET", path, query, read_timeout=read_timeout)
        if response.status != 200:
            self._note(response.status)
            raise ApiError("GET", path, response.status, self._body(response, "GET", path))
        return ApiStream(response, path)

    def _note(self, status: int) -> None:
        if status == 401:
            self.reload()

    @staticmethod
    def _body(response: urllib3.BaseHTTPResponse, method: str, path: str) -> bytes:
        try:
            data = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            response.close()
            raise ApiUnavailableError(f"API server: {method} {path}: {error}") from error
        response.release_conn()
        return data
