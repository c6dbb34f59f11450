"""Models from a hub, against a server of this machine."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import onehop
from onehop.errors import ModelError, OnehopError
from onehop.tasks import hub, load_package
from onehop.tasks.folders import find

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40


class Hub(ThreadingHTTPServer):
    """A hub with one repository, `somebody/numbers`, whose revisions main and v1 are one commit."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.endless: dict[str, int] = {}  # files whose body has no end, and the status it comes with
        self.stated: dict[str, str] = {}  # files whose length is said to be another
        self.moved: dict[str, str] = {}  # files that are said to be elsewhere
        self.dripping = False  # whether a byte comes each tenth of a second
        self.files, self.asked, self.headers = files, [], {"X-Repo-Commit": COMMIT, "ETag": '"../../../evil"'}
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Any

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if self.path.startswith("/somebody"):
            self.server.asked.append(self.path)
        parts = self.path.strip("/").split("/")
        owner, name, _, revision, file = (parts + [""] * 5)[:5]
        known = f"{owner}/{name}" == "somebody/numbers" and revision in ("main", "v1", COMMIT)
        data = self.server.files.get(file) if known else None
        endless = self.server.endless.get(file)
        self.send_response(404 if data is None else 302 if file in self.server.moved else endless or 200)
        if file in self.server.moved:
            self.send_header("Location", self.server.moved[file])
        if not known:
            self.send_header("X-Error-Code", "RepoNotFound" if name != "numbers" else "RevisionNotFound")
        elif data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        for key, value in self.server.headers.items():
            self.send_header(key, value)
        if not endless:
            self.send_header("Content-Length", self.server.stated.get(file, str(len(data or b""))))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client may have heard enough
            while body and endless:
                self.wfile.write(bytes(1 << 16))
            for byte in (data or b"") if body and self.server.dripping else b"":
                self.wfile.write(bytes([byte]))
                time.sleep(0.1)
            if body and data:
                self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(trained) -> Iterator[Hub]:
    with Hub({path.name: path.read_bytes() for path in (trained / "model").iterdir()}) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def load(model: str, folder: Path, endpoint: str, offline: bool = False) -> dict[str, str]:
    """Load a model, or tell why not; the present folder and the cache are in `folder`."""
    (folder / "here").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder / "here"):
        for name, value in (("HF_ENDPOINT", endpoint), ("ONEHOP_CACHE", str(folder / "cache"))):
            patch.setenv(name, value)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hf"))
        try:
            package = load_package(model)
        except OnehopError as error:
            return {"error": str(error)}
        return {"path": str(package.path), "text": package.translator.translate(["Two."])[0].text}


PROGRAM = """
from onehop.errors import ModelError
from onehop.tasks.folders import find
try:
    find("somebody/numbers")
except ModelError as error:
    print(error)
"""


def test_the_variable_of_the_hubs_own_library_turns_it_off(tmp_path):
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    offline = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "ONEHOP_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **offline}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.startswith("somebody/numbers: no such folder, and no hub to ask"), done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stdout
    assert written(tmp_path) == set()


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_package_is_fetched_once_by_its_commit_and_used_without_a_network(server, tmp_path, trained):
    found = load("somebody/numbers", tmp_path, server.url)
    place = tmp_path / "cache/hub/somebody--numbers" / COMMIT
    assert found == {"path": str(place), "text": onehop.load(trained).translate(["Two."])[0].text}
    assert written(place) == {path.name for path in (trained / "model").iterdir()}
    assert all(part.startswith("cache/") for part in written(tmp_path)), written(tmp_path)
    asked = len(server.asked)
    assert load("somebody/numbers@v1", tmp_path, server.url) == found
    assert len(server.asked) == asked + 1  # where v1 is
    assert load(f"somebody/numbers@{COMMIT}", tmp_path, "http://127.0.0.1:9") == found
    assert load("somebody/numbers", tmp_path, server.url, offline=True) == found
    assert len(server.asked) == asked + 1


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("somebody/nothing", "no such model: neither a folder here, nor a repository"),
        ("somebody/numbers@v9", "no such model: neither a folder here, nor a repository"),
        (f"somebody/numbers@{OTHER}", "no such model"),
    ],
)
def test_what_the_hub_does_not_have_is_told(server, tmp_path, model, told):
    assert told in load(model, tmp_path, server.url)["error"]


def test_without_a_network_it_fails_at_once_with_one_message(tmp_path):
    for offline in (True, False):
        error = load("somebody/numbers", tmp_path, "http://127.0.0.1:9", offline)["error"]
        assert error.startswith("somebody/numbers: no such folder, and no hub to ask")
        assert "Name a folder" in error
    assert written(tmp_path) == set()


@pytest.mark.parametrize("commit", ["../../../../evil", "main", "", "A" * 40])
def test_a_server_that_names_no_commit_writes_nothing(server, tmp_path, commit):
    server.headers["X-Repo-Commit"] = commit
    assert "no hub" in load("somebody/numbers", tmp_path, server.url)["error"]
    assert written(tmp_path) == set()


def test_a_server_that_sends_another_commit_than_was_asked_for_is_refused(server, tmp_path):
    server.headers["X-Repo-Commit"] = OTHER
    assert f"sent the commit {OTHER} instead" in load(f"somebody/numbers@{COMMIT}", tmp_path, server.url)["error"]


def test_a_file_that_was_changed_on_the_hub_is_found(server, tmp_path):
    server.files["model.safetensors"] = server.files["model.safetensors"][:-1] + b"\x7f"
    assert "model.safetensors came damaged" in load("somebody/numbers", tmp_path, server.url)["error"]


def test_what_came_damaged_is_not_kept_and_is_asked_for_twice(server, tmp_path):
    whole = server.files["model.safetensors"]
    server.files["model.safetensors"] = whole[: len(whole) // 2]
    assert "error" in load("somebody/numbers", tmp_path, server.url)
    assert not list((tmp_path / "cache/hub").rglob("*.safetensors"))
    assert sum(path.endswith("model.safetensors") for path in server.asked) == 2
    server.files["model.safetensors"] = whole
    assert "text" in load("somebody/numbers", tmp_path, server.url)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_answer_without_an_end_is_given_up(server, tmp_path, monkeypatch, status):
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    monkeypatch.setattr(hub, "SLOWEST", 1 << 30)
    monkeypatch.setitem(hub.LARGEST, "tokenizer.json", 1 << 20)
    server.endless["tokenizer.json"] = status
    assert "error" in load("somebody/numbers", tmp_path, server.url)
    assert not list((tmp_path / "cache/hub").rglob("tokenizer.json"))


@pytest.mark.parametrize("file", ["onehop.json", "golden.jsonl"])
@pytest.mark.parametrize("length", [str(10**15), "-5", "many"])
def test_a_file_cut_short_or_of_no_length_is_no_missing_hub(server, tmp_path, file, length):
    server.stated[file] = length
    error = load("somebody/numbers", tmp_path, server.url)["error"]
    assert error.startswith(f"somebody/numbers: what the hub answers for {file} cannot be used")
    assert "Try again" in error
    assert written(tmp_path) == set()


@pytest.mark.parametrize("file", ["onehop.json", "golden.jsonl"])
@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "http://127.0.0.1/%s"])
def test_a_file_that_is_said_to_be_where_no_web_is_is_refused(server, tmp_path, file, place):
    server.moved[file] = place.replace("%s", "a" * 70_000)
    error = load("somebody/numbers", tmp_path, server.url)["error"]
    assert error.startswith(f"somebody/numbers: what the hub answers for {file} cannot be used")
    assert written(tmp_path) == set()


def test_a_manifest_that_was_changed_on_its_way_is_not_kept(server, tmp_path):
    """It was, so that every later call found it damaged in the cache, and to copy the package again was no help."""
    whole = server.files["onehop.json"]
    server.files["onehop.json"] = whole.replace(b'"en"', b'"de"', 1)
    assert "onehop.json came damaged: changed" in load("somebody/numbers", tmp_path, server.url)["error"]
    server.files["onehop.json"] = whole
    assert "text" in load("somebody/numbers", tmp_path, server.url)


def test_a_file_that_comes_too_slowly_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    server.dripping = True
    assert "comes at less than" in load("somebody/numbers", tmp_path, server.url)["error"]


def test_a_file_larger_than_the_disk_is_not_begun_to_be_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "SHARE", 1e-9)
    assert "is larger than" in load("somebody/numbers", tmp_path, server.url)["error"]


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"[" * 10_000, b'{"files": 3}', b'{"files": {"../../evil": "0"}}', b" " * (5 << 20)]
)
def test_a_manifest_that_is_none_writes_nothing_outside_the_cache(server, tmp_path, manifest):
    server.files["onehop.json"] = manifest
    assert "error" in load("somebody/numbers", tmp_path, server.url)
    assert all(part.startswith("cache/hub/somebody--numbers/") for part in written(tmp_path))


def test_a_repository_without_a_package_or_without_a_card(server, tmp_path):
    del server.files["MODEL_CARD.md"]
    assert "text" in load("somebody/numbers", tmp_path, server.url)
    del server.files["onehop.json"]
    assert (
        "it has neither onehop.json nor config.json"
        in load("somebody/numbers@v1", tmp_path / "here", server.url)["error"]
    )


@pytest.mark.parametrize(
    "name", ["a/b/c", "./a/b", "../a", "a", "/a/b", "a/../b", "a/.b", "a//b", "a/b@", "a/b@../c", ""]
)
def test_what_is_no_hub_id_is_never_asked_for(name):
    assert hub.hub_id(name) is None


def test_a_folder_comes_before_a_hub_and_so_does_a_path_whose_first_part_is_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onehop.tasks.folders.download", lambda *args: pytest.fail("asked the hub"))
    (tmp_path / "runs").mkdir()
    with pytest.raises(ModelError, match="no such model"):
        find("runs/frist")
    (tmp_path / "owner/name").mkdir(parents=True)
    with pytest.raises(ModelError, match="not a model"):
        find("owner/name")
