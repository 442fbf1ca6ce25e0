"""Repositories on disk the way the Hub keeps them: named heads, immutable commits, blobs by content.

Enters: file contents and commit operations. Leaves: what a commit holds. Everything lives under one folder and is
read back from it, so a stopped server can go on where it was. Knows nothing of HTTP and of who is asking.

    root/blobs/<sha256>     root/repos/<kind>/<owner>/<name>/repo.json     .../commits/<sha>.json
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

KINDS = ("model", "dataset", "space")
# What a new repository's .gitattributes sends to large file storage (the names that matter here), and the size above
# which the Hub refuses a file in git: https://huggingface.co/docs/hub/repositories-getting-started
LFS_SUFFIXES = frozenset(
    f".{name}" for name in (
        "safetensors", "bin", "pt", "pth", "onnx", "h5", "msgpack", "npz", "npy", "parquet", "arrow", "zip", "gz",
        "wav", "mp3", "flac", "ogg", "mp4", "g722", "png", "jpg")
)
LFS_BYTES = 10 * 2**20
GITATTRIBUTES = b"".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n".encode() for suffix in sorted(LFS_SUFFIXES)
)


class Missing(LookupError):
    """`what` is "repo", "revision" or "entry"."""

    def __init__(self, what: str, name: str):
        super().__init__(f"{what} {name}")
        self.what = what


class Conflict(ValueError):
    """The repository exists already, or its head is not the parent the commit names."""


@dataclass(frozen=True)
class Entry:
    """One file of one commit. `oid` is git's blob id, as in the Hub's listings; an LFS file's ETag is its sha256."""

    path: str
    sha256: str
    oid: str
    size: int
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Entry]


@dataclass
class Repo:
    """The changeable part of a repository: settings, and heads that name commits."""

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    created: str = ""
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    space: dict = field(default_factory=dict)  # sdk, hardware, variables, names of secrets


class Store:
    """All repositories under `root`. Safe for several threads."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self.lock = threading.RLock()
        (self.root / "blobs").mkdir(parents=True, exist_ok=True)

    def reset(self) -> None:
        """Forget every repository and every blob."""
        with self.lock:
            for name in ("repos", "blobs"):
                shutil.rmtree(self.root / name, ignore_errors=True)
            (self.root / "blobs").mkdir()

    # repositories

    def _folder(self, kind: str, repo_id: str) -> Path:
        parts = PurePosixPath(repo_id).parts
        if kind not in KINDS or len(parts) != 2 or any(part.startswith(".") for part in parts):
            raise Missing("repo", repo_id)
        return self.root / "repos" / kind / parts[0] / parts[1]

    def repo(self, kind: str, repo_id: str) -> Repo:
        path = self._folder(kind, repo_id) / "repo.json"
        if not path.is_file():
            raise Missing("repo", repo_id)
        return Repo(**json.loads(path.read_text()))

    def repos(self, kind: str) -> list[Repo]:
        return [Repo(**json.loads(path.read_text())) for path in sorted(self.root.glob(f"repos/{kind}/*/*/repo.json"))]

    def create(self, kind: str, repo_id: str, *, private: bool, author: str, space: dict | None = None) -> Repo:
        """A new repository with the first commit the Hub makes. Raises Conflict if it exists."""
        with self.lock:
            if (self._folder(kind, repo_id) / "repo.json").exists():
                raise Conflict(f"You already created this {kind} repo")
            repo = Repo(kind, repo_id, private=private, created=_now(), space=space or {})
            first = {".gitattributes": self.put(GITATTRIBUTES)}
            if kind == "space":
                card = f"---\ntitle: {repo_id.split('/')[1]}\nsdk: {repo.space['sdk']}\napp_file: app.py\n---\n"
                first["README.md"] = self.put(card.encode())
            self.save(repo)
            self.commit(repo, "main", first, title="initial commit", author=author)
            return repo

    def save(self, repo: Repo) -> None:
        path = self._folder(repo.kind, repo.id) / "repo.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, json.dumps(asdict(repo)).encode())

    def delete(self, repo: Repo) -> None:
        shutil.rmtree(self._folder(repo.kind, repo.id))

    # contents

    def put(self, content: bytes) -> str:
        """Keep some bytes; gives their sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.blob(sha256).exists():
            _write(self.blob(sha256), content)
        return sha256

    @contextlib.contextmanager
    def incoming(self) -> Iterator[BinaryIO]:
        """A temporary file for bytes on their way in; gone afterwards unless `keep` took it."""
        with tempfile.NamedTemporaryFile(dir=self.root, delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: BinaryIO, sha256: str, size: int) -> bool:
        """Take an incoming file as blob `sha256`; False if it is not that."""
        file.flush()
        with open(file.name, "rb") as copy:
            digest = hashlib.file_digest(copy, "sha256").hexdigest()
        if digest != sha256 or os.path.getsize(file.name) != size:
            return False
        os.replace(file.name, self.blob(sha256))
        return True

    def put_file(self, path: Path) -> str:
        """Keep a copy of a file; gives its sha256."""
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if not self.blob(sha256).exists():
            with self.incoming() as copy, open(path, "rb") as file:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.replace(copy.name, self.blob(sha256))
        return sha256

    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256

    # commits

    def resolve(self, repo: Repo, revision: str) -> Commit:
        """The commit a branch, a tag or a (full or short) commit id names."""
        revision = revision.removeprefix("refs/heads/")
        sha = repo.branches.get(revision) or repo.tags.get(revision)
        folder = self._folder(repo.kind, repo.id) / "commits"
        if sha is None and len(revision) >= 7 and all(c in "0123456789abcdef" for c in revision):
            sha = next((path.stem for path in folder.glob(f"{revision}*.json")), None)
        if sha is None or not (folder / f"{sha}.json").is_file():
            raise Missing("revision", revision)
        data = json.loads((folder / f"{sha}.json").read_text())
        files = {path: Entry(**entry) for path, entry in data.pop("files").items()}
        return Commit(sha=sha, files=files, **data)

    def entry(self, repo: Repo, revision: str, path: str) -> tuple[Commit, Entry]:
        commit = self.resolve(repo, revision)
        if path not in commit.files:
            raise Missing("entry", path)
        return commit, commit.files[path]

    def history(self, repo: Repo, revision: str) -> list[Commit]:
        """Newest first."""
        commits = [self.resolve(repo, revision)]
        while commits[-1].parent:
            commits.append(self.resolve(repo, commits[-1].parent))
        return commits

    def commit(self, repo: Repo, branch: str, added: dict[str, str], deleted: tuple[str, ...] = (), *, title: str,
               message: str = "", author: str = "", parent: str | None = None) -> Commit:
        """Put `added` (path → sha256 of a kept blob) and leave out `deleted` (a folder ends with "/").

        Raises Missing where a deleted path or a blob is not there, Conflict where `parent` is not the head.
        """
        with self.lock:
            repo.branches = self.repo(repo.kind, repo.id).branches  # another thread may have committed since
            if repo.branches and branch not in repo.branches:
                raise Missing("revision", branch)
            head = self.resolve(repo, branch) if repo.branches else None
            if parent and (head is None or not head.sha.startswith(parent)):
                raise Conflict("A commit has happened since. Please refresh and try again.")
            files = dict(head.files) if head else {}
            for path in deleted:
                hit = [name for name in files if name == path or (path.endswith("/") and name.startswith(path))]
                if not hit:
                    raise Missing("entry", path)
                for name in hit:
                    del files[name]
            files |= {path: self._entry(path, sha256) for path, sha256 in added.items()}
            body = {"parent": head.sha if head else None, "title": title, "message": message, "author": author,
                    "date": _now(), "files": {path: asdict(entry) for path, entry in sorted(files.items())}}
            data = json.dumps(body).encode()
            sha = hashlib.sha1(repo.id.encode() + data + str(time.time_ns()).encode()).hexdigest()
            folder = self._folder(repo.kind, repo.id) / "commits"
            folder.mkdir(exist_ok=True)
            _write(folder / f"{sha}.json", data)
            repo.branches[branch] = sha
            self.save(repo)
            return self.resolve(repo, sha)

    def _entry(self, path: str, sha256: str) -> Entry:
        blob = self.blob(sha256)
        if not blob.is_file():
            raise Missing("entry", f"{path}: its LFS object {sha256} was never uploaded")
        size = blob.stat().st_size
        with open(blob, "rb") as file:
            lfs = is_lfs(path, size, file.read(512))
        content = _pointer(sha256, size) if lfs else blob.read_bytes()
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return Entry(path, sha256, oid, size, lfs)


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub keeps such a file in large file storage."""
    return size > 0 and (PurePosixPath(path).suffix.lower() in LFS_SUFFIXES or size > LFS_BYTES or b"\0" in sample)


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{threading.get_ident()}.part")
    partial.write_bytes(content)
    os.replace(partial, path)
