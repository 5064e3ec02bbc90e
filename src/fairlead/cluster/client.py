# SPDX-License-Identifier: Apache-2.0
"""HTTP towards the API server.

The typed models of the official client are not used: a typed watch costs 1.5 ms of CPU per
EndpointSlice where msgspec on the same bytes costs 60 us, so requests go to its urllib3 pool and
bytes come back.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import urllib3

from fairlead.cluster.kubeconfig import KubeConfig
from fairlead.model.errors import FairleadError

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


class ApiStream:
    """The open body of a watch; `read` blocks until bytes arrive."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, path: str, broken: Callable[[], None]
    ) -> None:
        """Read from a response; `broken` is called when that fails."""
        self._response, self._path, self._broken = response, path, broken

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
            self._broken()
            raise ApiUnavailableError(f"API server: watch {self._path}: {error}") from error

    def close(self) -> None:
        """Drop the connection; safe from any thread, and wakes a blocked `read`."""
        with contextlib.suppress(Exception):
            self._response.shutdown()
        with contextlib.suppress(Exception):
            self._response.close()


class KubeApi:
    """Requests to one API server; safe to share between threads.

    Whenever a request fails, whatever the failure, the kubeconfig is read anew if it changed: a
    playbook may have handed over another token, CA or API server.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """Read the kubeconfig; None takes the service account of a pod.

        Raises:
            KubeConfigError: It can't be read or lacks what is needed.
        """
        self._kubeconfig = KubeConfig(kubeconfig)

    @property
    def generation(self) -> int:
        """Which kubeconfig is in force, counted from 1: a new one may be another API server's."""
        return self._kubeconfig.connection.generation

    @property
    def kubeconfig_error(self) -> str:
        """Why the kubeconfig as it stands can't be used (an older one is in force), "" if it can.

        As of the last failed request: the file is not looked at while all is well.
        """
        return self._kubeconfig.error

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "fairlead-agent"}
        if token := self._kubeconfig.authorization():
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
        connection = self._kubeconfig.connection
        url = f"{connection.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = connection.pool.request(
                method,
                url,
                body=body,
                headers=self._headers(content_type),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except Exception as error:  # urllib3's, the socket's, or of a plugin that gives tokens
            self._kubeconfig.refresh()
            raise ApiUnavailableError(f"API server: {method} {path}: {error}") from error
        if not 200 <= response.status < 300:
            data = self._body(response, method, path)
            self._kubeconfig.refresh()
            raise ApiError(method, path, response.status, data)
        return response

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
        return self._body(response, method, path)

    def stream(
        self, path: str, query: Mapping[str, str | int], *, read_timeout: float
    ) -> ApiStream:
        """Open a watch.

        Raises:
            ApiError: The API server refused it (410: the resourceVersion is too old).
            ApiUnavailableError: No answer.
        """
        response = self._open("GET", path, query, read_timeout=read_timeout)
        return ApiStream(response, path, self._kubeconfig.refresh)

    def _body(self, response: urllib3.BaseHTTPResponse, method: str, path: str) -> bytes:
        try:
            data = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            response.close()
            self._kubeconfig.refresh()
            raise ApiUnavailableError(f"API server: {method} {path}: {error}") from error
        response.release_conn()
        return data
