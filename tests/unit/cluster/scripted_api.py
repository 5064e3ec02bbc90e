# SPDX-License-Identifier: Apache-2.0
"""A small API server on loopback that says what a test scripts: real HTTP, real chunks.

It exists for what a real API server does rarely and not on demand: a body cut in mid-line, 410 in
the stream, silence, bookmarks from the past.
"""

import base64
import json
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Step = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ScriptedApi"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass

    def serve(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        verb = "WATCH" if query.get("watch") else self.command
        self.server.requests.append((verb, url.path, query, body, dict(self.headers)))
        steps = self.server.steps[(verb, url.path)]
        if steps:
            steps.popleft()(self)
        elif verb == "WATCH":
            hold()(self)
        else:
            reply({"kind": "Status", "reason": "NotFound", "message": "no script"}, 404)(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class ScriptedApi(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.steps: dict[tuple[str, str], deque[Step]] = defaultdict(deque)
        self.requests: list[tuple[str, str, dict[str, str], Any, dict[str, str]]] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def handle_error(self, *_: Any) -> None:
        pass

    def on(self, verb: str, path: str, *steps: Step) -> None:
        self.steps[(verb, path)].extend(steps)

    def count(self, verb: str, path: str) -> int:
        return sum(1 for seen in list(self.requests) if seen[:2] == (verb, path))

    def kubeconfig(
        self, folder: Path, token: str = "sesame", authority: Path | None = None
    ) -> Path:
        path = folder / "kubeconfig"
        cluster = {"server": f"{self.scheme}://127.0.0.1:{self.server_port}"}
        if authority:
            data = base64.b64encode(authority.read_bytes()).decode()
            cluster["certificate-authority-data"] = data
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"token": token}}],
                }
            )
        )
        return path

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


def reply(body: Any, status: int = 200) -> Step:
    def step(handler: Handler) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return step


def stream(*pieces: bytes | float, end: str = "hold") -> Step:
    """Chunks of a watch body; a number is a pause. end: "hold", "close" (clean), "cut"."""

    def step(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            if isinstance(piece, bytes):
                handler.chunk(piece)
            else:
                time.sleep(piece)
        if end == "close":
            handler.wfile.write(b"0\r\n\r\n")
        elif end == "cut":
            handler.close_connection = True
        else:
            handler.server.closing.wait(30)
            handler.close_connection = True

    return step


def hold() -> Step:
    return stream()


def thing(name: str, version: int, **fields: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return {"metadata": meta, **fields}


def listing(version: int, *items: Any, token: str = "") -> dict[str, Any]:
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if token:
        meta["continue"] = token
    return {"kind": "List", "metadata": meta, "items": list(items)}


def event(kind: str, obj: Any) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def gone() -> bytes:
    status = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}
    return event("ERROR", {**status, "metadata": {}, "message": "too old resource version"})


def eventually(check: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Poll until `check` is truthy; fails loudly at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := check():
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {check}")


def serving() -> Iterator[ScriptedApi]:
    server = ScriptedApi()
    yield server
    server.stop()
