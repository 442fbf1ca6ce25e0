"""A small Hugging Face Hub on this machine: enough for the real client to create, upload to, list and download from.

    with HubServer() as hub:
        commit = hub.add("model", "tester/whisper", folder)           # or let the client upload it
        subprocess.run(..., env=environment(hub, home))               # another process takes it for the Hub
        hub.fail("resolve/.*/model.safetensors", drop_after=1000)     # the next download breaks off
        hub.downloads("tester/whisper")                               # the files whose content was sent

Repositories lie under a folder (a temporary one unless named), see `hub_store`; what is answered where is in
`hub_routes`, `hub_changes` and `hub_jobs`, over the wire of `hub_http`.

The client decides at its import whether it uses Xet storage, which this is not: HF_HUB_DISABLE_XET=1 must be set by
then, as `environment` does for another process and conftest.py for this one.

    python tests/support/hub_server.py --port 8900 --root folder              # until Ctrl+C
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import hub_changes  # noqa: F401 - registers its routes
from hub_http import Fault, Handler, Http, Logged
from hub_jobs import Machines
from hub_routes import User
from hub_store import Conflict, Store

USER = "tester"


class HubServer:
    """A Hub on 127.0.0.1. Tokens: `token` may read and write for USER, `read_token` only read, `outsider_token` is
    another user's.

    part_bytes: larger files are uploaded in parts of this size.
    """

    def __init__(self, root: str | os.PathLike | None = None, *, port: int = 0, part_bytes: int = 64 * 2**20):
        self._temporary = tempfile.TemporaryDirectory(prefix="hub-") if root is None else None
        self.store = Store(Path(root or self._temporary.name))
        self.machines = Machines(self.store.root)
        self.part_bytes = part_bytes
        self.parts: dict[tuple[str, int], str] = {}
        self.token, self.read_token, self.outsider_token = (f"hf_{secrets.token_hex(16)}" for _ in range(3))
        self.users = {
            self.token: User(USER, owners=(USER, "team")),
            self.read_token: User(USER, role="read", owners=(USER, "team")),
            self.outsider_token: User("outsider", owners=("outsider",)),
        }
        self.faults: list[Fault] = []
        self.requests: list[Logged] = []
        self.verbose = False
        self.stopping = threading.Event()
        self._secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._http = Http(("127.0.0.1", port), Handler)
        self._http.hub = self
        self.port = self._http.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # The same server under another name: another host to the client, as the Hub's storage is.
        self.storage = f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def start(self) -> HubServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering; a temporary root goes too."""
        self.stopping.set()
        self.machines.reset()
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> HubServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget repositories, buckets, jobs, faults and the log."""
        self.store.reset()
        self.machines.reset()
        self.faults.clear()
        self.requests.clear()

    def add(self, kind: str, repo_id: str, content: str | os.PathLike | Mapping[str, bytes], *, private: bool = False,
            gated: bool = False, message: str = "Add files") -> str:
        """Put a folder, or files by name, into a repository that is made if it is not there; gives the commit's id.

        The quick way for a test that is not about uploading.
        """
        try:
            repo = self.store.create(kind, repo_id, private=private, author=USER, space={"sdk": "gradio"})
        except Conflict:
            repo = self.store.repo(kind, repo_id)
        repo.private, repo.gated = private, gated
        if isinstance(content, Mapping):
            added = {name: self.store.put(data) for name, data in content.items()}
        else:
            files = [path for path in sorted(Path(content).rglob("*")) if path.is_file()]
            added = {path.relative_to(content).as_posix(): self.store.put_file(path) for path in files}
        return self.store.commit(repo, "main", added, title=message, author=USER).sha

    def read(self, kind: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Every file of a commit."""
        commit = self.store.resolve(self.store.repo(kind, repo_id), revision)
        return {path: self.store.blob(entry.sha256).read_bytes() for path, entry in commit.files.items()}

    def fail(self, pattern: str, *, method: str | None = None, status: int | None = None,
             drop_after: int | None = None, delay: float = 0.0, times: int = 1, skip: int = 0) -> Fault:
        """Make requests whose path matches `pattern` (a regular expression) go wrong, and only so many of them.

        status: answer with this error. drop_after: break the connection after so many bytes of the file, sent or
        received. delay: wait so many seconds before the answer, or before breaking off.
        """
        fault = Fault(pattern, method, status, drop_after, delay, times, skip)
        self.faults.append(fault)
        return fault

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self.faults if fault.strikes(method, path)), None)

    def downloads(self, repo_id: str | None = None) -> list[str]:
        """The files whose content was sent, sorted, each once."""
        return sorted({entry.file for entry in self.requests if entry.method == "GET" and entry.file
                       and entry.status in (200, 206) and repo_id in (None, entry.repo)})

    def sign(self, what: str) -> str:
        return hashlib.sha256(f"{self._secret}{what}".encode()).hexdigest()[:16]


def environment(hub: HubServer, home: str | os.PathLike, *, token: str | None = "", **more: str) -> dict[str, str]:
    """os.environ for a process that takes `hub` for the Hub and keeps its cache under `home`.

    token: the owner's unless named; None for a process without one.
    """
    dropped = re.compile("HF_|HUGGING_?FACE_|TRANSFORMERS_OFFLINE|(HTTPS?|ALL)_PROXY", re.IGNORECASE)
    kept = {key: value for key, value in os.environ.items() if not dropped.match(key)}
    kept |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home),
             "HF_HUB_DISABLE_TELEMETRY": "1"}
    if token is not None:
        kept["HF_TOKEN"] = token or hub.token
    return kept | more


def main() -> None:
    parser = argparse.ArgumentParser(description="A small Hugging Face Hub on this machine.")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--root", help="folder of the repositories; a temporary one if not given")
    options = parser.parse_args()
    hub = HubServer(options.root, port=options.port)
    hub.verbose = True
    print(f"HF_ENDPOINT={hub.endpoint} HF_HUB_DISABLE_XET=1 HF_TOKEN={hub.token}  # user {USER}", flush=True)
    with hub, contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


if __name__ == "__main__":
    main()
