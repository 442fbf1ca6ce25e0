"""job.py INPUT KEPT: one training run on the machine of a job, begun or taken up again.

Enters: INPUT, a folder with what `sent` made, read only; KEPT, the run's folder in a bucket, empty at first. Leaves in
KEPT the complete checkpoints while training goes on, and the finished run in their place at its end.

Training writes to the machine's own disk: a mounted bucket takes files that are written from their first byte to their
last, and no renaming (https://github.com/huggingface/hf-mount#consistency-model). What is whole is then copied, its
mark last, so that a job which is ended at any moment leaves a run to go on from.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["whisper-spaces[train]"]
#
# [tool.uv.sources]
# whisper-spaces = { path = "whisper-spaces.tar.gz" }
# ///

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from shared.errors import UserError
from shared.system.command import ended_by_signals, reported
from training import config as settings
from training.commands import followed, problem, started
from training.config import COMPLETE

SECONDS = 1.0  # between two looks for a new checkpoint


class Kept:
    """A run's folder on this disk, and its copy in the bucket. Where a checkpoint lacks its mark it is not there."""

    def __init__(self, run: Path, kept: Path) -> None:
        self.run, self.kept = run, kept

    def restore(self) -> list[str]:
        """Bring the complete checkpoints here, and remove what a killed job left unfinished; returns their names."""
        self.kept.mkdir(parents=True, exist_ok=True)
        for path in _checkpoints(self.kept):
            if not (path / COMPLETE).is_file():
                shutil.rmtree(path)
        found = [path.name for path in _checkpoints(self.kept)]
        if found:
            shutil.copytree(self.kept, self.run, dirs_exist_ok=True, copy_function=shutil.copyfile)
        return found

    def update(self) -> None:
        """Copy what is new, then remove the checkpoints that training has dropped."""
        here = {path.name for path in _checkpoints(self.run) if (path / COMPLETE).is_file()}
        for name in sorted(here):
            if not (self.kept / name / COMPLETE).is_file():
                try:
                    _copy(self.run / name, self.kept / name)
                except OSError:  # training has dropped it meanwhile: a newer one is there, and comes next
                    if (self.run / name / COMPLETE).is_file():
                        raise
        self._copy_small_files()
        whole = {path.name for path in _checkpoints(self.kept) if (path / COMPLETE).is_file()}
        if here and here <= whole:
            self._remove(whole - here)

    def finish(self) -> None:
        """The finished run takes the place of the checkpoints it came from; its model's mark is written last."""
        self._copy_small_files()
        folders = sorted(path for path in self.run.iterdir() if path.is_dir() and path not in _checkpoints(self.run))
        for path in [one for one in folders if one.name != "model"] + [self.run / "model"]:
            _copy(path, self.kept / path.name)
        self._remove({path.name for path in _checkpoints(self.kept)})

    def _copy_small_files(self) -> None:
        for path in sorted(self.run.glob("*.*")):
            if path.is_file():
                with contextlib.suppress(FileNotFoundError):  # a file that was being replaced
                    shutil.copyfile(path, self.kept / path.name)

    def _remove(self, names: set[str]) -> None:
        for name in names:
            (self.kept / name / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(self.kept / name)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))


def _copy(source: Path, target: Path) -> None:
    """A folder, file by file, its mark last. A copy that a mark is missing from is begun anew."""
    target.mkdir(parents=True, exist_ok=True)
    (target / COMPLETE).unlink(missing_ok=True)
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and path != source / COMPLETE:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    if (source / COMPLETE).is_file():
        (target / COMPLETE).touch()


@contextlib.contextmanager
def _kept_meanwhile(copies: Kept) -> Iterator[None]:
    """Within the block every new checkpoint is copied, and once more at its end, however it ends."""
    done = threading.Event()

    def keep() -> None:
        while not done.wait(SECONDS):
            try:
                copies.update()
            except OSError as error:  # training goes on; the next look tries again, and the last one raises
                print(f"note: the bucket does not take the checkpoint: {error}", flush=True)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        copies.update()


def work(source: Path, kept: Path) -> None:
    """Lay out the working folder, train, and keep the run. Raises UserError where training fails."""
    config = settings.load(source / "config.yaml")
    shutil.copyfile(source / "config.yaml", "config.yaml")
    for data in config.data:
        place = Path(data.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((source / "work" / data.path).resolve(), target_is_directory=True)
    copies = Kept(config.folder, kept)
    found = copies.restore()
    print(f"going on from {found[-1]}" if found else "a new run", flush=True)
    config.folder.mkdir(parents=True, exist_ok=True)
    with _kept_meanwhile(copies), started(["training.finetune", "config.yaml"], Path.cwd()) as child:
        code, messages = followed(child, lambda line: print(line, flush=True))
    if code:
        print(messages[-20_000:], flush=True)
        raise UserError(problem(messages, "training.finetune", code))
    copies.finish()
    print("the run is done and kept", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="job.py", description="One training run on the machine of a job.")
    parser.add_argument("input", type=Path, help="what was sent: config, data, and this script")
    parser.add_argument("kept", type=Path, help="where the run is kept")
    given = parser.parse_args(arguments)
    with ended_by_signals():
        return reported("job.py", lambda: work(given.input, given.kept))


if __name__ == "__main__":
    sys.exit(main())
