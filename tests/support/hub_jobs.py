"""What a small Hub answers about jobs and buckets, and the machine that its jobs run on: a process here.

Continues `hub_routes` (which see). A bucket is a folder. A job's command is run as the Hub would run it, but for three
things: `uv run SCRIPT` is the Python of this test with the project that the script's inline metadata names unpacked
before it, the paths of volumes in the command are those of folders here, and a job starts at once.
Addresses and field names are the client's (huggingface_hub 2.4). Not here: Xet, which real buckets are written with.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hub_routes import Refused, Request, Response, as_json, route, writer
from hub_store import Missing

if TYPE_CHECKING:
    from hub_server import HubServer

BUCKET = r"/api/buckets/(?P<owner>[^/]+)/(?P<name>[^/]+)"
JOB = r"/api/jobs/(?P<owner>[^/]+)/(?P<job_id>[0-9a-f]{24})"
SECONDS_QUIET = 1.0  # of a log without a new line, until a sign of life is sent
HARDWARE = [
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "ephemeralStorage": "20 GB",
     "unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"},
    {"name": "t4-small", "prettyName": "Nvidia T4 - small", "cpu": "4 vCPU", "ram": "15 GB",
     "ephemeralStorage": "50 GB", "unitCostMicroUSD": 6667, "unitCostUSD": 0.006667, "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"}},
]


@dataclass
class Job:
    """One job: what was asked for, and the process that does it. place: the machine's own disk."""

    id: str
    owner: str
    asked: dict[str, Any]
    stage: str = "RUNNING"
    message: str | None = None
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    place: str = ""
    news: threading.Condition = field(default_factory=threading.Condition)

    def says(self, line: str) -> None:
        with self.news:
            self.lines.append(line)
            self.news.notify_all()

    def ends(self, stage: str, message: str | None = None) -> None:
        with self.news:
            if self.stage == "RUNNING":
                self.stage, self.message = stage, message
            self.news.notify_all()

    def kill(self, message: str = "Job timeout") -> None:
        """The machine is taken away: the job and all that it started are gone at once, as is its disk."""
        self.ends("ERROR", message)
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id, "createdAt": _now(), "dockerImage": self.asked.get("dockerImage"),
            "command": self.asked["command"], "arguments": [], "environment": self.asked["environment"],
            "flavor": self.asked["flavor"], "labels": self.asked.get("labels"), "volumes": self.asked.get("volumes"),
            "status": {"stage": self.stage, "message": self.message},
            "owner": {"id": "0", "name": self.owner, "type": "user"},
        }


class Machines:
    """The buckets and the jobs of a Hub. run_jobs: False: a job that is asked for is only written down."""

    def __init__(self, root: Path) -> None:
        self.root, self.run_jobs = root, True
        self.jobs: list[Job] = []
        self.private: dict[str, bool] = {}
        self.asked = threading.Condition()

    def wait_for_job(self) -> Job:
        """The first job, once somebody has asked for it."""
        with self.asked:
            assert self.asked.wait_for(lambda: self.jobs, timeout=120), "nobody asked for a job"
            return self.jobs[0]

    def bucket(self, bucket_id: str) -> Path:
        if bucket_id not in self.private:
            raise Missing("repo", bucket_id)
        return self.root / "buckets" / bucket_id

    def create(self, bucket_id: str, private: bool = True) -> Path:
        self.private[bucket_id] = private
        self.bucket(bucket_id).mkdir(parents=True, exist_ok=True)
        return self.bucket(bucket_id)

    def reset(self) -> None:
        for job in self.jobs:
            job.kill()
            for path in Path(job.place, "volumes").rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)
            shutil.rmtree(job.place, ignore_errors=True)
        self.jobs.clear()
        self.private.clear()
        self.run_jobs = True
        shutil.rmtree(self.root / "buckets", ignore_errors=True)

    def start(self, hub: HubServer, job: Job) -> None:
        job.place = tempfile.mkdtemp(prefix="job-")
        place = Path(job.place)
        folders = {volume["mountPath"]: self._mounted(hub, volume, place) for volume in job.asked.get("volumes", ())}
        words = [_moved(word, folders) for word in job.asked["command"]]
        assert words[:2] == ["uv", "run"], words
        project = _unpacked(Path(words[2]), place / "project")
        env = {name: os.environ[name] for name in ("PATH", "LANG", "WHISPER_SPACES_CACHE", "XDG_CACHE_HOME", "HOME")
               if name in os.environ}
        env |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(place / "hub"),
                "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
        env |= job.asked["environment"] | job.asked.get("secrets", {})
        (place / "disk").mkdir()
        job.process = subprocess.Popen([sys.executable, *words[2:]], cwd=place / "disk", env=env, text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        threading.Thread(target=_watched, args=(job,), daemon=True).start()

    def _mounted(self, hub: HubServer, volume: dict[str, Any], place: Path) -> Path:
        folder = place / "volumes" / volume["mountPath"].strip("/")
        folder.parent.mkdir(parents=True, exist_ok=True)
        if volume["type"] == "bucket":
            folder.symlink_to(self.bucket(volume["source"]) / volume.get("path", ""))
            return folder
        for path, content in hub.read(volume["type"], volume["source"], volume.get("revision", "main")).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for path in [*folder.rglob("*"), folder]:  # a repository is mounted to be read only
            path.chmod(0o555 if path.is_dir() else 0o444)
        return folder


def _moved(word: str, folders: dict[str, Path]) -> str:
    for mounted, folder in folders.items():
        if word == mounted or word.startswith(mounted + "/"):
            return str(folder) + word.removeprefix(mounted)
    return word


def _unpacked(script: Path, folder: Path) -> Path:
    """The project that a script's inline metadata (PEP 723) asks for, from the archive that uv would install."""
    block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", script.read_text(encoding="utf-8"))
    assert block, "the script has no inline metadata"
    lines = (line.removeprefix("# ").removeprefix("#") for line in block["content"].splitlines())
    found = tomllib.loads("\n".join(lines))
    assert found["dependencies"] == ["whisper-spaces[train]"] and found["requires-python"] == ">=3.11"
    with tarfile.open(script.parent / found["tool"]["uv"]["sources"]["whisper-spaces"]["path"]) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    assert (project / "pyproject.toml").is_file() and (project / "requirements.txt").is_file()
    return project


def _watched(job: Job) -> None:
    assert job.process is not None and job.process.stdout is not None
    for line in job.process.stdout:
        job.says(line.rstrip("\n"))
    code = job.process.wait()
    job.ends("COMPLETED" if code == 0 else "ERROR", None if code == 0 else f"Job failed with exit code: {code}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# buckets


@route("POST", BUCKET)
def create_bucket(hub: HubServer, request: Request, owner: str, name: str) -> Response:
    writer(request, owner)
    url = {"url": f"{hub.endpoint}/buckets/{owner}/{name}"}
    if f"{owner}/{name}" in hub.machines.private:
        return as_json(url | {"error": "You already created this bucket"}, 409)
    hub.machines.create(f"{owner}/{name}", private=request.json().get("visibility") == "private")
    return as_json(url)


@route("GET", BUCKET)
def bucket_info(hub: HubServer, request: Request, owner: str, name: str) -> Response:
    bucket_id = f"{owner}/{name}"
    files = [path for path in hub.machines.bucket(bucket_id).rglob("*") if path.is_file()]
    return as_json({"id": bucket_id, "private": hub.machines.private[bucket_id], "createdAt": _now(),
                    "size": sum(path.stat().st_size for path in files), "totalFiles": len(files)})


@route("GET", BUCKET + r"/tree(?:/(?P<prefix>[^/]+))?")
def bucket_tree(hub: HubServer, request: Request, owner: str, name: str, prefix: str | None) -> Response:
    folder = hub.machines.bucket(f"{owner}/{name}")
    found = [{"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "xetHash": "0"}
             for path in sorted((folder / (prefix or "")).rglob("*")) if path.is_file()]
    return as_json(found)


@route("GET", r"/buckets/(?P<owner>[^/]+)/(?P<name>[^/]+)/resolve/(?P<path>.+)")
def bucket_file(hub: HubServer, request: Request, owner: str, name: str, path: str) -> Response:
    if request.user is None or owner not in request.user.owners:
        raise Refused(404, "Repository not found", "RepoNotFound")
    place = hub.machines.bucket(f"{owner}/{name}") / unquote(path)
    if not place.is_file():
        raise Missing("entry", path)
    return Response(place)


# jobs


@route("GET", "/api/jobs/hardware")
def hardware(hub: HubServer, request: Request) -> Response:
    return as_json(HARDWARE)


@route("POST", r"/api/jobs/(?P<owner>[^/]+)")
def run_job(hub: HubServer, request: Request, owner: str) -> Response:
    writer(request, owner)
    asked = request.json()
    if asked["flavor"] not in [machine["name"] for machine in HARDWARE]:
        raise Refused(400, f"unknown flavor {asked['flavor']}")
    job = Job(secrets.token_hex(12), owner, asked)
    if hub.machines.run_jobs:
        hub.machines.start(hub, job)
    with hub.machines.asked:
        hub.machines.jobs.append(job)
        hub.machines.asked.notify_all()
    return as_json(job.described())


@route("GET", r"/api/jobs/(?P<owner>[^/]+)")
def list_jobs(hub: HubServer, request: Request, owner: str) -> Response:
    wanted = dict(label.split("=", 1) for label in request.query.get("label", ()))
    stages = request.query.get("stage", ())
    return as_json([job.described() for job in hub.machines.jobs if job.owner == owner
                    and (not stages or job.stage in stages)
                    and wanted.items() <= job.asked.get("labels", {}).items()])


def _job(hub: HubServer, owner: str, job_id: str) -> Job:
    found = [job for job in hub.machines.jobs if (job.owner, job.id) == (owner, job_id)]
    if not found:
        raise Refused(404, "Job not found")
    return found[0]


@route("GET", JOB)
def inspect_job(hub: HubServer, request: Request, owner: str, job_id: str) -> Response:
    return as_json(_job(hub, owner, job_id).described())


@route("POST", JOB + "/cancel")
def cancel_job(hub: HubServer, request: Request, owner: str, job_id: str) -> Response:
    job = _job(hub, owner, job_id)
    job.ends("CANCELED")
    job.kill()
    return as_json(job.described())


@route("GET", JOB + "/logs")
def job_logs(hub: HubServer, request: Request, owner: str, job_id: str) -> Response:
    return Response(_events(hub, _job(hub, owner, job_id)), headers={"Content-Type": "text/event-stream"})


def _events(hub: HubServer, job: Job) -> Iterator[bytes]:
    """Each line as it is written, until the job ends."""
    n_sent = 0
    while not hub.stopping.is_set():
        with job.news:
            if n_sent == len(job.lines) and job.stage == "RUNNING":
                job.news.wait(SECONDS_QUIET)
            ended, lines = job.stage != "RUNNING", job.lines[n_sent:]
        n_sent += len(lines)
        for line in lines:
            yield f"data: {json.dumps({'timestamp': _now(), 'data': line})}\n\n".encode()
        if not lines:
            yield b": keep-alive\n\n"  # by this the server finds out that nobody listens any more
        if ended:
            return
