"""What a job needs of this machine: the project, the config and the data sets, as files of one commit on the Hub.

Enters: a run's config. Leaves: names in the repository, each with its content. What cannot be sent is refused here,
before anything costs money. Knows nothing of the Hub.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath

import yaml

import training
from feature_pipeline.settings import plain
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from training.config import Config

ROOT = Path(training.__file__).parents[1]
PROJECT = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", "NOTICE", "shared", "feature_pipeline",
           "training")  # what pip builds the packages from
LEFT_OUT = ("shared/models/speakers",)  # 18 MB that training does not use
SCRIPT, ARCHIVE, CONFIG = "job.py", "whisper-spaces.tar.gz", "config.yaml"  # names in the repository
PLACE = "work"  # the folder there that is laid out as the working folder here
NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)  # of a run: it becomes a label of the job and a folder in the bucket


def check(config: Config) -> None:
    """Raise UserError for what a job could not do, since it has only what is sent, at the same relative places."""
    if not NAME.fullmatch(config.name):
        raise UserError("A job's run is named with letters, digits, . _ and -", got=config.name,
                        hint="give it another with name=…")
    base = Checkpoint.parse(config.base)
    if base.origin == "folder":
        raise UserError("The base is a folder of this machine, which a job does not have", got=config.base,
                        hint="publish it (it may be private) and name it as user/name@commit")
    _check_place("out", config.out)
    for source in config.data:
        _check_place("a data set's path", source.path)
        if not source.files("train"):
            raise UserError("The data set is not built yet", got=source.path,
                            hint="build it first: `python -m feature_pipeline.build CONFIG` (make features)")


def _check_place(what: str, path: str) -> None:
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise UserError(f"A job finds {what} at the same place below its working folder", got=path,
                        hint="name it relative to this one, without ..")


def files(config: Config) -> dict[str, bytes | Path]:
    """Everything that is sent. Raises UserError where this is an installation and not a checkout of the project."""
    found: dict[str, bytes | Path] = {
        SCRIPT: Path(__file__).with_name("script.py"),
        ARCHIVE: _archive(),
        CONFIG: yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True).encode(),
    }
    for source in config.data:
        folder = Path(source.path)
        parts = [folder / "manifest.json", *sorted((folder / "data").glob("*.parquet"))]
        found |= {f"{PLACE}/{path.as_posix()}": path for path in parts if path.is_file()}
    return found


def n_bytes(sent: dict[str, bytes | Path]) -> int:
    """The size of all of it."""
    return sum(len(content) if isinstance(content, bytes) else content.stat().st_size for content in sent.values())


@cache
def _archive() -> bytes:
    """The project's packages as a source archive. The same tree gives the same bytes, which are then sent once."""
    missing = [name for name in PROJECT if not (ROOT / name).exists()]
    if missing:
        raise UserError("Only a checkout of the project can be sent to a job", got=f"{ROOT} lacks {', '.join(missing)}",
                        hint="clone the repository, and start from there")
    buffer = io.BytesIO()
    packing = gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0)  # most of it is weights
    with packing as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path in _project_files():
            entry = tarfile.TarInfo(f"whisper-spaces/{path.relative_to(ROOT).as_posix()}")
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return buffer.getvalue()


def _project_files() -> Iterator[Path]:
    for name in PROJECT:
        place = ROOT / name
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            relative = path.relative_to(ROOT)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            if path.is_file() and not hidden and not relative.as_posix().startswith(LEFT_OUT):
                yield path
