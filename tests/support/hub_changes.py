"""What a small Hub answers to those who change something: repositories, heads, uploads, commits, Spaces' settings.

Continues `hub_routes` (which see), with its Request, Response and Refused.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from typing import TYPE_CHECKING, BinaryIO

import yaml
from hub_routes import (
    FILES,
    REPO,
    Refused,
    Request,
    Response,
    as_json,
    readable,
    route,
    signed,
    space_runtime,
    writable,
    writer,
)
from hub_store import Conflict, Missing, Repo, is_lfs

from feature_pipeline.licences import HUB_LICENCES

if TYPE_CHECKING:
    from hub_server import HubServer

COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}

# repositories and their heads


@route("POST", "/api/repos/create")
def create_repo(hub: HubServer, request: Request) -> Response:
    asked = request.json()
    kind = asked.get("type") or "model"
    owner = asked.get("organization") or (request.user.name if request.user else "")
    user = writer(request, owner)
    repo_id = request.repo = f"{owner}/{asked['name']}"
    url = f"{hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}"
    space = None
    if kind == "space":
        if asked.get("sdk") not in ("gradio", "docker", "static"):
            raise Refused(400, '"sdk" must be one of [gradio, docker, static]')
        space = {"sdk": asked["sdk"], "hardware": asked.get("hardware") or "cpu-basic",
                 "variables": {item["key"]: item["value"] for item in asked.get("variables") or []},
                 "secrets": sorted(item["key"] for item in asked.get("secrets") or [])}
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    try:
        hub.store.create(kind, repo_id, private=private, author=user.name, space=space)
    except Conflict as conflict:
        return as_json({"error": str(conflict), "url": url}, 409, **{"X-Error-Message": str(conflict)})
    return as_json({"url": url, "name": repo_id, "id": repo_id, "private": private})


@route("DELETE", "/api/repos/delete")
def delete_repo(hub: HubServer, request: Request) -> Response:
    asked = request.json()
    owner = asked.get("organization") or (request.user.name if request.user else "")
    repo = writable(hub, request, asked.get("type") or "model", f"{owner}/{asked['name']}")
    hub.store.delete(repo)
    return as_json({})


@route("PUT", REPO + "/settings")
def update_settings(hub: HubServer, request: Request, kind: str, repo_id: str) -> Response:
    repo = writable(hub, request, kind, repo_id)
    asked = request.json()
    if "visibility" in asked or "private" in asked:
        repo.private = asked.get("visibility") == "private" or bool(asked.get("private"))
    if "gated" in asked:
        repo.gated = bool(asked["gated"])
    hub.store.save(repo)
    return as_json({"private": repo.private, "gated": repo.gated})


@route("POST", REPO + "/(?P<what>branch|tag)/(?P<name>[^/]+)")
def create_ref(hub: HubServer, request: Request, kind: str, repo_id: str, what: str, name: str) -> Response:
    repo, asked = writable(hub, request, kind, repo_id), request.json()
    new, start = (name, asked.get("startingPoint") or "main") if what == "branch" else (asked["tag"], name)
    heads = repo.branches if what == "branch" else repo.tags
    if new in heads:
        raise Refused(409, f"Reference already exists: {new}")
    heads[new] = hub.store.resolve(repo, start).sha
    hub.store.save(repo)
    return as_json({})


@route("DELETE", REPO + "/(?P<what>branch|tag)/(?P<name>[^/]+)")
def delete_ref(hub: HubServer, request: Request, kind: str, repo_id: str, what: str, name: str) -> Response:
    repo = writable(hub, request, kind, repo_id)
    if (repo.branches if what == "branch" else repo.tags).pop(name, None) is None:
        raise Missing("revision", name)
    hub.store.save(repo)
    return as_json({})


@route("POST", "/api/validate-yaml")
def validate_card(hub: HubServer, request: Request) -> Response:
    """The checks of a card's front matter that the client asks for before it uploads a README.md.

    Rules: https://huggingface.co/docs/hub/spaces-config-reference, and `_card_errors`.
    """
    asked = request.json()
    match = re.match(r"---\n(.*?)\n---", asked["content"], re.DOTALL)
    errors = []
    try:
        card = (yaml.safe_load(match[1]) if match else None) or {}
    except yaml.YAMLError as error:
        card, errors = {}, [f"bad YAML: {error}"]
    if asked.get("repoType") == "space" and not errors:
        if card.get("sdk") not in ("gradio", "docker", "static"):
            errors.append('"sdk" must be one of [gradio, docker, static]')
        errors += [f'"{key}" must be one of {sorted(COLOURS)}' for key in ("colorFrom", "colorTo")
                   if key in card and card[key] not in COLOURS]
        if len(card.get("short_description") or "") > 60:
            errors.append('"short_description" length must be less than or equal to 60 characters long')
    elif not errors:
        errors = _card_errors(card)
    warnings = [] if card or errors else [{"message": "empty or missing yaml metadata in repo card"}]
    return as_json({"errors": [{"message": text} for text in errors], "warnings": warnings}, 400 if errors else 200)


def _card_errors(card: dict) -> list[str]:
    """What the Hub says of the front matter of a model or a data set.

    `datasets`, `license` and `model-index` are verified: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    Messages as people report them, among others in https://github.com/huggingface/autotrain-advanced/issues/648 and
    https://github.com/huu4ontocord/MDEL/issues/34.
    """
    errors = [f'"language[{n}]" with value "{code}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code'
              for n, code in enumerate(_listed(card.get("language"))) if not re.fullmatch("[a-z]{2,3}", str(code))]
    if card.get("license") not in HUB_LICENCES | {None} or (card.get("license") == "other") != ("license_name" in card):
        errors.append('"license" must be one of those listed; "license_name" is for "other"')
    errors += [f'"{key}" with value "{name}" is not valid. Use an id from https://hf.co'
               for key in ("base_model", "datasets") for name in _listed(card.get(key))
               if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", str(name))]
    if card.get("base_model_relation", "finetune") not in ("finetune", "adapter", "merge", "quantized"):
        errors.append('"base_model_relation" must be one of [adapter, merge, quantized, finetune]')
    for n, result in enumerate(result for entry in card.get("model-index", ()) for result in entry["results"]):
        at, data = f"model-index[0].results[{n}]", result.get("dataset", {})
        errors += [f'"{at}.dataset.{key}" must be a string' for key in ("type", "name", "config", "split", "revision")
                   if not isinstance(data.get(key, "" if key not in ("type", "name") else None), str)]
        errors += [f'"{at}.metrics[{i}].value" is required' for i, metric in enumerate(result.get("metrics", ()))
                   if metric.get("value") is None]
        errors += [] if result.get("task", {}).get("type") and result.get("metrics") else [f'"{at}" is incomplete']
    return errors


def _listed(value: object) -> list:
    return [] if value is None else value if isinstance(value, list) else [value]


# uploading


@route("POST", REPO + "/preupload/(?P<revision>[^/]+)")
def preupload(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    repo = writable(hub, request, kind, repo_id)
    present = hub.store.resolve(repo, revision).files
    answers = []
    for item in request.json()["files"]:
        path = item["path"]
        mode = "lfs" if is_lfs(path, item["size"], base64.b64decode(item.get("sample") or "")) else "regular"
        row = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        answers.append(row | ({"oid": present[path].etag} if path in present else {}))
    return as_json({"files": answers})


@route("POST", FILES + r"\.git/info/lfs/objects/batch")
def lfs_batch(hub: HubServer, request: Request, kind: str, repo_id: str) -> Response:
    writable(hub, request, kind, repo_id)
    asked = request.json()
    objects = [_lfs_object(hub, request, item["oid"], item["size"]) for item in asked["objects"]]
    transfer = "multipart" if any("chunk_size" in item.get("actions", {}).get("upload", {}).get("header", {})
                                  for item in objects) else "basic"
    return as_json({"transfer": transfer, "objects": objects})


def _lfs_object(hub: HubServer, request: Request, sha256: str, size: int) -> dict:
    item: dict = {"oid": sha256, "size": size}
    if not hub.store.blob(sha256).exists():  # else nothing to do: the content is there already
        place = functools.partial("{}/lfs/{}/{}?signature={}".format, hub.storage)
        upload: dict = {"href": place(sha256, f"whole/{size}", hub.sign(sha256))}
        if size > hub.part_bytes:
            n_parts = -(-size // hub.part_bytes)
            upload = {"href": f"{hub.endpoint}/lfs/{sha256}/complete/{size}?signature={hub.sign(sha256)}",
                      "header": {"chunk_size": str(hub.part_bytes)} | {
                          str(n): place(sha256, f"part/{n}", hub.sign(sha256)) for n in range(1, n_parts + 1)}}
        verify = request.path.removesuffix("batch") + "verify"
        item |= {"authenticated": True, "actions": {"upload": upload, "verify": {"href": hub.endpoint + verify}}}
    return item


@route("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})/whole/(?P<size>\d+)")
def put_whole(hub: HubServer, request: Request, sha256: str, size: str) -> Response:
    signed(hub, request, sha256)
    with hub.store.incoming() as file:
        _copy(request.body, file)
        if not hub.store.keep(file, sha256, int(size)):
            raise Refused(400, "The content is not what its SHA-256 says")
    return Response()


@route("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})/part/(?P<n>\d+)")
def put_part(hub: HubServer, request: Request, sha256: str, n: str) -> Response:
    signed(hub, request, sha256)
    with hub.store.incoming() as file:
        _copy(request.body, file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, 2)
        hub.store.keep(file, digest, file.tell())
    hub.parts[sha256, int(n)] = digest
    return Response(headers={"ETag": f'"{digest}"'})


@route("POST", r"/lfs/(?P<sha256>[0-9a-f]{64})/complete/(?P<size>\d+)")
def complete(hub: HubServer, request: Request, sha256: str, size: str) -> Response:
    signed(hub, request, sha256)
    parts = request.json()["parts"]
    with hub.store.incoming() as file:
        for part in sorted(parts, key=lambda part: part["partNumber"]):
            digest = hub.parts.pop((sha256, part["partNumber"]), None)
            if digest is None or part["etag"].strip('"') != digest:
                raise Refused(400, "InvalidPart")
            with open(hub.store.blob(digest), "rb") as chunk:
                _copy(chunk, file)
        if not hub.store.keep(file, sha256, int(size)):
            raise Refused(400, "The content is not what its SHA-256 says")
    return as_json({})


@route("POST", FILES + r"\.git/info/lfs/objects/verify")
def verify(hub: HubServer, request: Request, kind: str, repo_id: str) -> Response:
    writable(hub, request, kind, repo_id)
    asked = request.json()
    blob = hub.store.blob(asked["oid"])
    if not blob.is_file() or blob.stat().st_size != asked["size"]:
        raise Refused(404, "Object not found")
    return as_json({})


@route("POST", REPO + "/commit/(?P<revision>[^/]+)")
def commit(hub: HubServer, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    repo = writable(hub, request, kind, repo_id)
    header, added, deleted = {}, {}, []
    for line in request.body.read().splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "header":
            header = value
        elif item["key"] == "file":
            added[value["path"]] = hub.store.put(base64.b64decode(value["content"]))
        elif item["key"] == "lfsFile":
            added[value["path"]] = value["oid"]
        else:
            deleted.append(value["path"].rstrip("/") + ("/" if item["key"] == "deletedFolder" else ""))
    try:
        made = hub.store.commit(repo, revision, added, tuple(deleted), title=header["summary"],
                                message=header.get("description", ""), author=request.user.name,
                                parent=header.get("parentCommit"))
    except Missing as missing:
        if missing.what == "entry":
            raise Refused(404, f"A file with this name doesn't exist: {missing.args[0]}", "EntryNotFound") from None
        raise
    url = f"{hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}/commit/{made.sha}"
    return as_json({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while chunk := source.read(2**16):
        target.write(chunk)


# Spaces


@route("GET", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/runtime")
def runtime(hub: HubServer, request: Request, repo_id: str) -> Response:
    return as_json(space_runtime(readable(hub, request, "space", repo_id)))


@route("POST", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/(?P<what>hardware|sleeptime|pause|restart)")
def changespace_runtime(hub: HubServer, request: Request, repo_id: str, what: str) -> Response:
    repo = writable(hub, request, "space", repo_id)
    if what == "hardware":
        repo.space["hardware"] = request.json()["flavor"]
    elif what == "sleeptime":
        repo.space["sleep"] = request.json()["seconds"]
    else:
        repo.space["stage"] = "PAUSED" if what == "pause" else "BUILDING"
    hub.store.save(repo)
    return as_json(space_runtime(repo))


@route("GET", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/(?P<what>variables|secrets)")
def settings(hub: HubServer, request: Request, repo_id: str, what: str) -> Response:
    return as_json(_settings(writable(hub, request, "space", repo_id), what))


@route("POST", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/(?P<what>variables|secrets)")
def add_setting(hub: HubServer, request: Request, repo_id: str, what: str) -> Response:
    repo, asked = writable(hub, request, "space", repo_id), request.json()
    if what == "variables":
        repo.space.setdefault("variables", {})[asked["key"]] = asked["value"]
    else:
        repo.space["secrets"] = sorted({*repo.space.get("secrets", []), asked["key"]})
    hub.store.save(repo)
    return as_json(_settings(repo, what))


@route("DELETE", "/api/spaces/(?P<repo_id>[^/]+/[^/]+)/(?P<what>variables|secrets)")
def delete_setting(hub: HubServer, request: Request, repo_id: str, what: str) -> Response:
    repo, key = writable(hub, request, "space", repo_id), request.json()["key"]
    if what == "variables":
        repo.space.get("variables", {}).pop(key, None)
    else:
        repo.space["secrets"] = [name for name in repo.space.get("secrets", []) if name != key]
    hub.store.save(repo)
    return as_json(_settings(repo, what))


def _settings(repo: Repo, what: str) -> dict:
    if what == "secrets":
        return {key: {"key": key} for key in repo.space.get("secrets", [])}
    return {key: {"key": key, "value": value} for key, value in repo.space.get("variables", {}).items()}
