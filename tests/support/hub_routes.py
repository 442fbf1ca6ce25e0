"""What a small Hub answers to those who ask: who they are, what there is, what a commit holds, a file of it.

The part of the Hub's HTTP interface that its Python client uses to read; `hub_changes` has the part that writes.
Enters: a Request. Leaves: a Response, or Refused with the status and the `X-Error-Code` by which the client tells one
refusal from another. Addresses and field names are the client's (huggingface_hub 2.4) and those of
https://huggingface.co/docs/hub/api and https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md. Knows nothing
of sockets.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import parse_qs, quote, unquote

import yaml
from hub_store import Commit, Conflict, Entry, Missing, Repo

if TYPE_CHECKING:
    from hub_server import HubServer

PAGE = 1000  # entries of a tree in one answer, as on the Hub
PLURAL = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass
class User:
    """Whom a token belongs to. `owners`: names it may write under; role: "read" or "write"."""

    name: str
    role: str = "write"
    owners: tuple[str, ...] = ()


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: BinaryIO
    user: User | None
    repo: str = ""  # filled in by the route: what was asked for, for the log
    file: str = ""

    def json(self) -> dict:
        return json.loads(self.body.read() or b"{}")


@dataclass
class Response:
    body: bytes | Path | Iterator[bytes] = b""  # an iterator: sent piece by piece, as it comes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


ROUTES: list[tuple[str, re.Pattern, Callable]] = []
REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
FILES = r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"


def route(method: str, pattern: str) -> Callable:
    def register(function: Callable) -> Callable:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


def answer(hub: HubServer, request: Request) -> Response:
    """The Response of the first route that fits. Raises Refused."""
    method = "GET" if request.method == "HEAD" else request.method
    for wanted, pattern, function in ROUTES:
        match = pattern.fullmatch(request.path) if wanted == method else None
        if match:
            fields = {key: unquote(value) if value else value for key, value in match.groupdict().items()}
            if "kind" in fields:
                fields["kind"] = PLURAL[fields["kind"] or "models"]
            request.repo = fields.get("repo_id") or ""
            try:
                return function(hub, request, **fields)
            except Missing as missing:
                raise _not_found(missing, request) from None
            except Conflict as conflict:
                raise Refused(412, str(conflict)) from None
    raise Refused(404, f"Sorry, we can't find the page you are looking for: {request.method} {request.path}")


def as_json(value: object, status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})


def _not_found(missing: Missing, request: Request) -> Refused:
    if missing.what == "repo":
        # The Hub tells the unauthenticated nothing: a private repository and one that does not exist look alike.
        if request.user is None:
            return Refused(401, "Invalid username or password.", "RepoNotFound")
        return Refused(404, "Repository not found", "RepoNotFound")
    if missing.what == "revision":
        return Refused(404, f"Invalid rev id: {missing.args[0]}", "RevisionNotFound")
    return Refused(404, "Entry not found", "EntryNotFound")


def readable(hub: HubServer, request: Request, kind: str, repo_id: str, *, contents: bool = False) -> Repo:
    repo = hub.store.repo(kind, repo_id)
    member = request.user is not None and repo_id.split("/")[0] in request.user.owners
    if repo.private and not member:
        raise Missing("repo", repo_id)
    if repo.gated and contents and not member:
        text = f"Access to {kind} {repo_id} is restricted."
        raise Refused(401, f"{text} You must have access to it and be authenticated to access it. Please log in.",
                      "GatedRepo") if request.user is None else Refused(
                          403, f"{text} Visit the page of the repository to ask for access.", "GatedRepo")
    return repo


def writer(request: Request, owner: str) -> User:
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    if request.user.role != "write":
        raise Refused(403, "This token has the read role: a token with the write role is needed")
    if owner not in request.user.owners:
        raise Refused(403, f'You don\'t have the rights to create or change a repository under the namespace "{owner}"')
    return request.user


def writable(hub: HubServer, request: Request, kind: str, repo_id: str) -> Repo:
    repo = readable(hub, request, kind, repo_id)
    writer(request, repo_id.split("/")[0])
    return repo


# who is asking, and repositories


@route("GET", "/api/whoami-v2")
def whoami(hub: HubServer, request: Request) -> Response:
    if request.user is None:
        raise Refused(401, "Invalid username or password.")
    user = request.user
    return as_json({
        "type": "user", "id": hashlib.md5(user.name.encode()).hexdigest()[:24], "name": user.name,
        "fullname": user.name, "isPro": False, "orgs": [{"name": owner} for owner in user.owners if owner != user.name],
        "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}},
    })


@route("GET", "/api/(?P<kind>models|datasets|spaces)")
def list_repos(hub: HubServer, request: Request, kind: str) -> Response:
    author = request.query.get("author", [""])[0]
    search = request.query.get("search", [""])[0]
    mine = request.user.owners if request.user else ()
    found = [repo for repo in hub.store.repos(kind) if (not author or repo.id.startswith(author + "/"))
             and search in repo.id and (not repo.private or repo.id.split("/")[0] in mine)]
    return as_json([_info(hub, repo, hub.store.resolve(repo, "main"), blobs=False) for repo in found])


@route("GET", REPO + "(?:/revision/(?P<revision>[^/]+))?")
def repo_info(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str | None) -> Response:
    repo = readable(hub, request, kind, repo_id)
    commit = hub.store.resolve(repo, revision or "main")
    return as_json(_info(hub, repo, commit, blobs="blobs" in request.query))


@route("GET", REPO + "/auth-check(?P<write>/write)?")
def auth_check(hub: HubServer, request: Request, kind: str, repo_id: str, write: str | None) -> Response:
    readable(hub, request, kind, repo_id, contents=True)
    if write:
        writable(hub, request, kind, repo_id)
    return as_json({})


def _info(hub: HubServer, repo: Repo, commit: Commit, *, blobs: bool) -> dict:
    siblings = [{"rfilename": entry.path} | (
        {"size": entry.size, "blobId": entry.oid} | (
            {"lfs": {"sha256": entry.sha256, "size": entry.size, "pointerSize": 130}} if entry.lfs else {})
        if blobs else {}) for entry in commit.files.values()]
    card = _card(hub, commit)
    info = {
        "_id": hashlib.md5(repo.id.encode()).hexdigest()[:24], "id": repo.id, "author": repo.id.split("/")[0],
        "sha": commit.sha, "createdAt": repo.created, "lastModified": commit.date, "private": repo.private,
        "gated": "manual" if repo.gated else False, "disabled": False, "downloads": 0, "likes": 0,
        "tags": list(card.get("tags") or []), "cardData": card, "siblings": siblings,
        "usedStorage": sum(entry.size for entry in commit.files.values()),
    }
    if repo.kind == "model":
        info |= {"modelId": repo.id} | {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
    if repo.kind == "space":
        info |= {"sdk": repo.space["sdk"], "runtime": space_runtime(repo), "subdomain": repo.id.replace("/", "-")}
    return info


def _card(hub: HubServer, commit: Commit) -> dict:
    entry = commit.files.get("README.md")
    text = hub.store.blob(entry.sha256).read_text("utf-8", "replace") if entry else ""
    match = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    return (yaml.safe_load(match[1]) if match else None) or {}


# what a commit holds


@route("GET", REPO + "/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def tree(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str, folder: str | None) -> Response:
    repo = readable(hub, request, kind, repo_id, contents=True)
    commit = hub.store.resolve(repo, revision)
    prefix = f"{folder.strip('/')}/" if folder else ""
    inside = [entry for path, entry in commit.files.items() if path.startswith(prefix)]
    if folder and not inside:
        raise Missing("entry", folder)
    expand = request.query.get("expand", ["false"])[0].lower() == "true"
    rows = _folders(commit, prefix) + [_row(entry, commit if expand else None) for entry in inside]
    if request.query.get("recursive", ["false"])[0].lower() != "true":
        rows = [row for row in rows if "/" not in row["path"][len(prefix):]]
    start = int(request.query.get("cursor", ["0"])[0])
    page, headers = rows[start:start + PAGE], {}
    if start + PAGE < len(rows):
        query = "&".join(f"{key}={quote(values[0])}" for key, values in request.query.items() if key != "cursor")
        headers["Link"] = f'<{hub.endpoint}{request.path}?{query}&cursor={start + PAGE}>; rel="next"'
    return as_json(page, **headers)


@route("POST", REPO + "/paths-info/(?P<revision>[^/]+)")
def paths_info(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    repo = readable(hub, request, kind, repo_id, contents=True)
    commit = hub.store.resolve(repo, revision)
    raw = request.body.read()
    asked = json.loads(raw) if "json" in request.headers.get("content-type", "") else parse_qs(raw.decode())
    expand = str(asked.get("expand")).lower() in ("true", "['true']")
    rows = {row["path"]: row for row in _folders(commit, "")}
    rows |= {path: _row(entry, commit if expand else None) for path, entry in commit.files.items()}
    return as_json([rows[path.strip("/")] for path in asked.get("paths", []) if path.strip("/") in rows])


def _row(entry: Entry, commit: Commit | None) -> dict:
    row = {"type": "file", "path": entry.path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
    if commit:
        row["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": commit.date}
    return row


def _folders(commit: Commit, prefix: str) -> list[dict]:
    names = {path[:place.start()] for path in commit.files if path.startswith(prefix)
             for place in re.finditer("/", path) if place.start() > len(prefix)}
    return [{"type": "directory", "path": name, "size": 0,
             "oid": hashlib.sha1(f"{commit.sha}{name}".encode()).hexdigest()} for name in sorted(names)]


@route("GET", REPO + "/refs")
def refs(hub: HubServer, request: Request, kind: str, repo_id: str) -> Response:
    repo = readable(hub, request, kind, repo_id)
    heads = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repo.branches.items()]
    tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repo.tags.items()]
    return as_json({"branches": heads, "tags": tags, "converts": [], "pullRequests": []})


@route("GET", REPO + "/commits/(?P<revision>[^/]+)")
def commits(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    repo = readable(hub, request, kind, repo_id)
    return as_json([{"id": commit.sha, "title": commit.title, "message": commit.message, "date": commit.date,
                     "authors": [{"user": commit.author}]} for commit in hub.store.history(repo, revision)])


@route("GET", FILES + "/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Response:
    """A file of a commit. An LFS file is elsewhere: the Hub sends the client to another host, and so does this."""
    request.file = path
    repo = readable(hub, request, kind, repo_id, contents=True)
    sha = hub.store.resolve(repo, revision).sha
    try:
        commit, entry = hub.store.entry(repo, sha, path)
    except Missing:
        raise Refused(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha}) from None
    headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}
    if not entry.lfs:
        return Response(hub.store.blob(entry.sha256), 200, headers)
    location = f"{hub.storage}/cdn/{kind}/{repo_id}/{entry.sha256}/{quote(path)}?signature={hub.sign(entry.sha256)}"
    headers |= {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"', "Location": location}
    return Response(b"", 302, headers)


@route("GET", "/cdn/(?P<kind_>[^/]+)/(?P<repo_id>[^/]+/[^/]+)/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)")
def stored(hub: HubServer, request: Request, kind_: str, repo_id: str, sha256: str, path: str) -> Response:
    request.file = path
    signed(hub, request, sha256)
    return Response(hub.store.blob(sha256), 200, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})


def signed(hub: HubServer, request: Request, what: str) -> None:
    if "authorization" in request.headers:  # as storage with signed addresses does; a token must not travel this far
        raise Refused(400, "Only one auth mechanism allowed")
    if request.query.get("signature") != [hub.sign(what)]:
        raise Refused(403, "SignatureDoesNotMatch")


def space_runtime(repo: Repo) -> dict:
    hardware = repo.space.get("hardware")
    return {"stage": repo.space.get("stage", "BUILDING"), "hardware": {"current": None, "requested": hardware},
            "storage": None, "gcTimeout": repo.space.get("sleep")}
