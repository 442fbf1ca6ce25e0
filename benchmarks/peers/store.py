"""The raw results: one JSON file a campaign, to which every run is added as soon as it is done.

Enters: one run after the other. Leaves: the file, with what is needed to judge or repeat it: versions, CPU, threads,
seeds, commands. A campaign may be run in pieces; the file says when each piece ran.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared.system.hardware import cpu_flags

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "avx_vnni")


def machine() -> dict[str, Any]:
    """What a reader needs to know of the hardware."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    memory = _value(Path("/proc/meminfo").read_text(encoding="utf-8"), "MemTotal", "0").split()[0]
    return {"cpu": _value(text, "model name", os.uname().machine), "family": int(_value(text, "cpu family", "0")),
            "model": int(_value(text, "model", "0")), "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(int(memory) / 1e6), "flags": [flag for flag in FLAGS if flag in cpu_flags()],
            "system": os.uname().release}


def _value(text: str, key: str, missing: str) -> str:
    """What stands behind the first `key:`. Not every processor's list has every key."""
    found = re.search(rf"^{key}\s*: *(.*)$", text, re.MULTILINE)
    return found[1] if found else missing


def default_path(checkpoint: str) -> Path:
    cpu = re.sub(r"\W+", "-", machine()["cpu"].lower()).strip("-")
    name = re.sub(r"\W+", "-", checkpoint.split(":")[-1].split("/")[-1])
    return RESULTS / f"{datetime.date.today()}-{cpu}-{name}.json"


class Store:
    """Runs on disk; `runs` are those of every campaign that wrote to this file."""

    def __init__(self, path: Path, checkpoint: str) -> None:
        self.path = path
        self.content: dict[str, Any] = {"checkpoint": checkpoint, "machine": machine(), "campaigns": [], "missing": {},
                                        "systems": {}, "environments": {}, "runs": []}
        if path.is_file():
            self.content = json.loads(path.read_text(encoding="utf-8"))
            if self.content["checkpoint"] != checkpoint:
                raise SystemExit(f"{path} holds results of {self.content['checkpoint']}, not of {checkpoint}")

    @property
    def runs(self) -> list[dict[str, Any]]:
        return self.content["runs"]

    def begin(self, command: str, threads: int, seed: int) -> int:
        """A campaign's number."""
        commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(["git", "-C", str(HERE), "status", "--porcelain", "--", "../../shared"],
                                 capture_output=True, text=True)
        self.content["campaigns"].append({
            "command": command, "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "threads": threads, "seed": seed, "commit": commit.stdout.strip(), "changed": bool(changed.stdout.strip()),
            "load_before": round(os.getloadavg()[0], 2)})
        return len(self.content["campaigns"]) - 1

    def add(self, run: dict[str, Any]) -> None:
        """Texts that an earlier run of the same kind gave already are not written twice."""
        same = (old for old in self.runs if all(old[key] == run[key] for key in ("system", "set", "mode"))
                and old.get("texts") == run["texts"])
        if next(same, None) is not None:
            run = run | {"texts": "as before"}
        self.runs.append(run)
        self.save()

    def forget(self, systems: Iterable[str], sets: Iterable[str], modes: Iterable[str]) -> None:
        """Drop the runs of these peers on these sets: what they reported of an older version of a program."""
        self.content["runs"] = [run for run in self.runs if not (
            run["system"] in systems and run["set"] in sets and run["mode"] in modes)]

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        lines = [json.dumps(run, ensure_ascii=False) for run in self.runs]
        head = json.dumps(self.content | {"runs": []}, indent=1, ensure_ascii=False).removesuffix("[]\n}")
        fresh.write_text(head + "[\n" + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
        fresh.replace(self.path)
