# SPDX-License-Identifier: Apache-2.0
"""A store of objects behind real HTTP on loopback, for the modules that talk to a cluster.

It keeps what is posted, merges what is patched, pages lists, fills in token Secrets as the
controller manager does, serves definitions at once, and can refuse. Semantics of a real API
server are the lab's business.
"""

import base64
import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-edges"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are two writes: Nagle and a delayed ACK would make 40 ms of every answer.
    disable_nagle_algorithm = True
    server: "ObjectApi"

    def log_message(self, *_: Any) -> None:
        pass

    def serve(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.command, url.path))
        status, answer = self.server.answer(self.command, url.path, query, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815


class ObjectApi(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, collections: dict[str, list[dict[str, Any]]] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists = collections or {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.forbidden: set[str] = set()
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] != "GET"]

    def answer(
        self, verb: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, dict[str, Any]]:
        if path in self.forbidden:
            return refusal(403, "Forbidden", f"User cannot {verb} {path}")
        if verb == "POST":
            return 201, self._store(f"{path}/{body['metadata']['name']}", body)
        if path in self.lists:
            return 200, self._page(self.lists[path], query)
        if verb == "GET" and path.endswith("/clusterrolebindings"):
            return 200, {"kind": "List", "metadata": {}, "items": self._selected(path, query)}
        if path not in self.objects:
            return refusal(404, "NotFound", f"{path} not found")
        if verb == "PATCH":
            return 200, self._store(path, {**self.objects[path], **body})
        if verb == "DELETE":
            return 200, self.objects.pop(path)
        return 200, self.objects[path]

    def _store(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        defaults = {"uid": f"uid-of-{path}", "resourceVersion": "1"}
        stored = {**body, "metadata": {**defaults, **body["metadata"]}}
        if body.get("type") == "kubernetes.io/service-account-token":
            stored["data"] = {"token": base64.b64encode(TOKEN.encode()).decode()}
        if body.get("kind") == "CustomResourceDefinition":
            stored["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        self.objects[path] = stored
        return stored

    def _selected(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """Objects of a collection that bear the labels (key=value) that are asked for."""
        wanted = dict(one.split("=") for one in query["labelSelector"].split(","))
        stored = [one for at, one in self.objects.items() if at.rpartition("/")[0] == path]
        return [one for one in stored if wanted.items() <= one["metadata"]["labels"].items()]

    @staticmethod
    def _page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        first, size = int(query.get("continue", 0)), int(query["limit"])
        rest = {"continue": str(first + size)} if first + size < len(items) else {}
        return {"kind": "List", "metadata": rest, "items": items[first : first + size]}

    def kubeconfig(self, folder: Path) -> str:
        path = folder / "kubeconfig"
        cluster = {"server": self.url}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "sesame"}}],
        }
        path.write_text(json.dumps(document))
        return str(path)


def refusal(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


@contextlib.contextmanager
def serving(collections: dict[str, list[dict[str, Any]]] | None = None) -> Iterator[ObjectApi]:
    server = ObjectApi(collections)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
