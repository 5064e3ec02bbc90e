# SPDX-License-Identifier: Apache-2.0
"""The lab kubelet's way to the API server: typed objects, requests, list and watch.

A few requests with a client certificate need no client library: urllib3 carries them, msgspec
parses what the kubelet reads of a Pod into frozen values and skips the rest.
"""

import base64
import contextlib
import json
import logging
import random
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3
import yaml

log = logging.getLogger(__name__)

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
WATCH_SECONDS = 300
RETRY_SECONDS = 2.0


class ApiError(Exception):
    """The API server said no, or nothing at all (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"API server: {status} {message}" if status else message)
        self.status = status


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    """Base of everything parsed from the API: camelCase names, unknown fields skipped."""


class Meta(_Wire, frozen=True):
    """The part of metadata that the kubelet uses."""

    name: str
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class HttpGet(_Wire, frozen=True):
    """A probe by HTTP."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"


class TcpSocket(_Wire, frozen=True):
    """A probe by connecting."""

    port: int | str
    host: str = ""


class Exec(_Wire, frozen=True):
    """A probe by a command."""

    command: list[str] = []


class Probe(_Wire, frozen=True):
    """A probe with its timings; the defaults are the API's own."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class ContainerPort(_Wire, frozen=True):
    """A port that the responder opens."""

    container_port: int
    protocol: str = "TCP"
    name: str = ""


class Container(_Wire, frozen=True):
    """A container: only its ports and its probe matter, images are ignored."""

    name: str
    image: str = ""
    ports: list[ContainerPort] = []
    readiness_probe: Probe | None = None


class ReadinessGate(_Wire, frozen=True):
    """A condition that somebody else sets and readiness waits for."""

    condition_type: str


class PodSpec(_Wire, frozen=True):
    """The part of a Pod's spec that the kubelet uses."""

    containers: list[Container]
    node_name: str = ""
    termination_grace_period_seconds: int = 30
    readiness_gates: list[ReadinessGate] = []


class Condition(_Wire, frozen=True):
    """A condition of a Pod."""

    type: str
    status: str


class PodStatus(_Wire, frozen=True):
    """The part of a Pod's status that the kubelet reads back."""

    phase: str = ""
    conditions: list[Condition] = []


class Pod(_Wire, frozen=True):
    """A Pod as the kubelet sees it."""

    metadata: Meta
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def path(self) -> str:
        """The object's path on the API server."""
        return f"/api/v1/namespaces/{self.metadata.namespace}/pods/{self.metadata.name}"


class _ListMeta(_Wire, frozen=True):
    resource_version: str = ""


class _PodList(_Wire, frozen=True):
    items: list[Pod]
    metadata: _ListMeta


class _Event(_Wire, frozen=True):
    type: str
    object: msgspec.Raw


_POD = msgspec.json.Decoder(Pod)
_EVENT = msgspec.json.Decoder(_Event)


class Api:
    """Requests to one API server with one client certificate; safe for several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        user = document["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.NamedTemporaryFile() as pem:  # the ssl module takes files only
            for field in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[field]))
            pem.flush()
            context.load_cert_chain(pem.name)
        self._pool = urllib3.connection_from_url(
            cluster["server"], maxsize=8, ssl_context=context, retries=False
        )

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request and return the parsed answer.

        Raises:
            ApiError: the server refused (its status) or could not be reached (status 0).
        """
        try:
            answer = self._pool.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": kind, "Accept": "application/json"},
                timeout=urllib3.Timeout(connect=2, read=10),
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"no answer from the API server: {error}") from error
        parsed: dict[str, Any] = msgspec.json.decode(answer.data) if answer.data else {}
        if answer.status >= 300:
            raise ApiError(answer.status, str(parsed.get("message", answer.reason)))
        return parsed

    def list_pods(self, node: str) -> tuple[list[Pod], str]:
        """The node's Pods, and the version of the list."""
        query = urlencode({"fieldSelector": f"spec.nodeName={node}"})
        raw = self.request("GET", f"/api/v1/pods?{query}")
        found = msgspec.convert(raw, _PodList)
        return found.items, found.metadata.resource_version

    def watch_pods(self, node: str, version: str) -> Iterator[tuple[str, Pod]]:
        """Changes of the node's Pods after ``version``, until the server ends the stream.

        Raises:
            ApiError: the version is too old (410) or the connection failed (0).
        """
        query = urlencode(
            {
                "fieldSelector": f"spec.nodeName={node}",
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": WATCH_SECONDS,
            }
        )
        try:
            stream = self._pool.request(
                "GET",
                f"/api/v1/pods?{query}",
                preload_content=False,
                timeout=urllib3.Timeout(connect=2, read=WATCH_SECONDS + 30),
            )
            with contextlib.closing(stream):
                yield from _events(stream)
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"watch broke: {error}") from error


def _events(stream: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, Pod]]:
    if stream.status >= 300:
        raise ApiError(stream.status, "watch refused")
    rest = b""
    while chunk := stream.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            event = _EVENT.decode(line)
            if event.type == "ERROR":
                status = msgspec.json.decode(event.object)
                raise ApiError(int(status.get("code", 500)), str(status.get("message", "")))
            if event.type != "BOOKMARK":
                yield event.type, _POD.decode(event.object)


def follow_pods(
    api: Api,
    node: str,
    on_list: Callable[[list[Pod]], None],
    on_event: Callable[[str, Pod], None],
    stop: threading.Event,
) -> None:
    """List, then watch, for ever; a broken watch is resumed by a new list.

    The list is cheap here (a node of the lab has a handful of Pods), so there is nothing to win
    by resuming from a bookmark.
    """
    while not stop.is_set():
        try:
            pods, version = api.list_pods(node)
            on_list(pods)
            for kind, pod in api.watch_pods(node, version):
                on_event(kind, pod)
        except (ApiError, msgspec.MsgspecError) as error:
            log.warning("pods of %s: %s", node, error)
            stop.wait(RETRY_SECONDS * random.uniform(0.3, 1.0))
