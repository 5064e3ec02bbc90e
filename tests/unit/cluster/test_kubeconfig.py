# SPDX-License-Identifier: Apache-2.0
"""The kubeconfig of a running process: read anew when it changed and a request failed."""

import json
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.cluster.client import ApiError, ApiUnavailableError, KubeApi
from fairlead.cluster.kubeconfig import KubeConfigError
from fairlead_lab.pki import Authority
from unit.cluster.scripted_api import ScriptedApi, reply, serving, stream

PATH = "/api/v1/x"
REFUSED = reply({"kind": "Status", "code": 401}, 401)
FINE = reply({"kind": "List"})


@pytest.fixture
def server() -> Iterator[ScriptedApi]:
    yield from serving()


@pytest.fixture
def other() -> Iterator[ScriptedApi]:
    yield from serving()


def token(server: ScriptedApi) -> str:
    """The token of the last request."""
    return server.requests[-1][4]["Authorization"].removeprefix("Bearer ")


def rewrite(path: Path, text: str) -> None:
    """Write in place without moving the time stamp, as within one tick of a coarse clock."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refused(api: KubeApi) -> None:
    with pytest.raises((ApiError, ApiUnavailableError)):
        api.request("GET", PATH)


def test_another_api_server_is_followed_once_the_old_one_is_away(
    server: ScriptedApi, other: ScriptedApi, tmp_path: Path
) -> None:
    api = KubeApi(server.kubeconfig(tmp_path))
    server.stop()
    refused(api)
    assert api.generation == 1  # nothing changed yet
    other.kubeconfig(tmp_path)
    other.on("GET", PATH, FINE, REFUSED)
    refused(api)
    assert api.request("GET", PATH)
    assert api.generation == 2
    refused(api)
    assert api.generation == 2  # read once, not at each failure


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_rotated_token_is_used_after_any_refusal(
    server: ScriptedApi, tmp_path: Path, status: int
) -> None:
    api = KubeApi(server.kubeconfig(tmp_path, token="old"))
    server.kubeconfig(tmp_path, token="new")
    server.on("GET", PATH, reply({"kind": "Status", "code": status}, status), FINE)
    refused(api)
    assert api.request("GET", PATH)
    assert token(server) == "new"


@pytest.mark.parametrize("answer", [REFUSED, stream(end="cut")], ids=["401", "cut"])
def test_a_watch_that_fails_reads_it_anew(
    server: ScriptedApi, tmp_path: Path, answer: Callable[[Any], None]
) -> None:
    api = KubeApi(server.kubeconfig(tmp_path, token="old"))
    server.kubeconfig(tmp_path, token="new")
    server.on("WATCH", PATH, answer, stream(b"x"))
    with pytest.raises((ApiError, ApiUnavailableError)):
        api.stream(PATH, {"watch": "1"}, read_timeout=5).read()
    watch = api.stream(PATH, {"watch": "1"}, read_timeout=5)
    assert watch.read() == b"x"
    assert token(server) == "new"
    watch.close()


def test_an_answer_that_breaks_off_reads_it_anew(server: ScriptedApi, tmp_path: Path) -> None:
    api = KubeApi(server.kubeconfig(tmp_path, token="old"))
    server.kubeconfig(tmp_path, token="new")
    server.on("GET", PATH, stream(b"half", end="cut"), FINE)
    refused(api)
    assert api.request("GET", PATH)
    assert token(server) == "new"


def test_another_authority_is_followed_after_a_failed_handshake(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    pair = new.issue("server", "server", hosts=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ScriptedApi(tls=context)
    try:
        server.on("GET", PATH, FINE)
        api = KubeApi(server.kubeconfig(tmp_path, authority=old.pair.certificate))
        with pytest.raises(ApiUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            api.request("GET", PATH)
        server.kubeconfig(tmp_path, authority=new.pair.certificate)
        with pytest.raises(ApiUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            api.request("GET", PATH)
        assert api.request("GET", PATH)
    finally:
        server.stop()


def test_a_file_that_was_caught_half_written_is_read_once_it_is_whole(
    server: ScriptedApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = server.kubeconfig(tmp_path, token="old")
    api = KubeApi(path)
    whole = server.kubeconfig(tmp_path, token="new").read_text()
    rewrite(path, whole[:40])
    server.on("GET", PATH, REFUSED, REFUSED, REFUSED, REFUSED, FINE)
    for _ in range(3):
        refused(api)
        assert token(server) == "old"
        assert f"kubeconfig {path}: " in api.kubeconfig_error
    assert [one.levelno for one in caplog.records] == [logging.WARNING]  # one line, not three
    rewrite(path, whole)
    refused(api)
    assert api.kubeconfig_error == ""
    assert api.request("GET", PATH)
    assert token(server) == "new"


def test_a_file_that_is_away_and_comes_back_as_it_was_changes_nothing(
    server: ScriptedApi, tmp_path: Path
) -> None:
    path = server.kubeconfig(tmp_path)
    api = KubeApi(path)
    text = path.read_text()
    path.unlink()
    server.on("GET", PATH, REFUSED, REFUSED)
    refused(api)
    assert "No such file" in api.kubeconfig_error
    path.write_text(text)
    refused(api)
    assert (api.kubeconfig_error, api.generation) == ("", 1)


def edited(**changes: Any) -> str:
    """A kubeconfig with some fields of cluster and user changed."""
    user = {"token": "secret-token"} | changes.pop("user", {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://[::1]:1"} | changes}],
        "users": [{"name": "u", "user": user}],
    }
    return json.dumps(document)


BAD = {
    "not YAML": "clusters: [",
    "a tab": "clusters:\n\t- x",
    "empty": "",
    "only text": "hello",
    "a list": "- a",
    "binary": "\x00\x01",
    "no context": "apiVersion: v1\nkind: Config\n",
    "a user without its user": edited().replace('"user": {', '"owner": {'),
    "a CA that is not base64": edited(**{"certificate-authority-data": "%%%"}),
    "a CA that is no certificate": edited(**{"certificate-authority-data": "aGVsbG8="}),
    "a CA that is not there": edited(**{"certificate-authority": "missing.pem"}),
    "a server without a scheme": edited(server="10.0.0.1:6443"),
    "a server that is a number": edited(server=6443),
    "a cluster that is a number": '{"clusters": 5, "current-context": "c"}',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_is_a_sentence_at_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(KubeConfigError) as caught:
        KubeApi(path)
    said = str(caught.value)
    assert said.startswith(f"kubeconfig {path}: ")
    assert said.endswith("check the path that is configured, and the file")
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_used_leaves_the_last_good_one_in_force(
    server: ScriptedApi, tmp_path: Path, text: str
) -> None:
    path = server.kubeconfig(tmp_path)
    api = KubeApi(path)
    path.write_text(text)
    server.on("GET", PATH, REFUSED, FINE)
    refused(api)
    assert api.request("GET", PATH)
    assert token(server) == "sesame"
    assert api.kubeconfig_error


def test_missing_file_is_a_sentence_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match=r"missing: .*No such file.*; check the path"):
        KubeApi(tmp_path / "missing")


def test_a_token_that_cannot_be_sent_is_a_failed_request(
    server: ScriptedApi, tmp_path: Path
) -> None:
    path = server.kubeconfig(tmp_path, token="two\nlines")
    with pytest.raises(ApiUnavailableError, match="header"):
        KubeApi(path).request("GET", PATH)
