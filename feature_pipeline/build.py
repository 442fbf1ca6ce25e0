"""From the corpora a config names to one data set on disk: `python -m feature_pipeline.build CONFIG [key=value …]`.

    list     corpora ─▶ .build/listed/*.parquet       rows that refer to their audio
    check    listed ─▶ .build/checked/*.parquet       text cleaned, audio measured, in parallel
    select   checked ─▶ .build/rows.sqlite            duplicates, splits, leaks, caps, mix
    hear     checked ─▶ .build/heard/*.parquet        optional: what a model hears
    write    ─▶ data/*.parquet, manifest.json, README.md, report.html

Every file appears whole or not at all, so a killed build goes on where it stopped; one with other settings or other
sources starts anew. This module knows the order of the stages and nothing of what they do.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from feature_pipeline import workers
from feature_pipeline.archives import sha256
from feature_pipeline.clean import Check
from feature_pipeline.config import Config, load, named_files, settings
from feature_pipeline.dataset import write_dataset
from feature_pipeline.label_check import hear
from feature_pipeline.publish import publish
from feature_pipeline.rows import Row
from feature_pipeline.selection import finish, select, split_sizes
from feature_pipeline.store import CHUNK_BYTES, ROWS_PER_CHUNK, write_json, write_listed
from shared.errors import Cancelled, UserError
from shared.files import full_disk_said
from shared.units import spoken_time

FORMAT = 1  # of the work folder; a new number makes every build start anew
Runner = Callable[[workers.Stage, Iterable[workers.Job]], Iterator[int]]


def build(config: Config, runner: Runner | None = None, say: Callable[[str], None] = print) -> Path:
    """Make the data set, or go on making it; gives its folder. Raises UserError."""
    out = Path(config.out)
    work = out / ".build"
    work.mkdir(parents=True, exist_ok=True)
    n_workers = config.workers or os.cpu_count() or 1
    listener, runner = runner, runner or (lambda stage, jobs: workers.run(stage, jobs, n_workers))
    lock = FileLock(work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("Another build is writing here", got=out, hint="wait for it, or set another `out`") from None
    with lock:
        for draft in work.rglob(".*.draft"):  # of a run that was killed
            draft.unlink(missing_ok=True)
        verdicts = read_verdicts(config.verdicts)
        if same_state(work, config, say) and (out / "manifest.json").is_file():
            say(f"{out} is complete and nothing has changed")
        else:
            with full_disk_said(out.name):
                _make(config, out, work, verdicts, runner, listener, say)
        publish(out, config, say)
    return out


def read_verdicts(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """What people decided by ear: id -> (keep | drop | text, corrected text). Later files win."""
    verdicts = {}
    for path in paths:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if not {"id", "verdict", "text"} <= set(table.fieldnames or ()):
                raise UserError("A file of verdicts needs the columns id, verdict, text", got=path,
                                hint=f"it has {', '.join(table.fieldnames or ['none'])}")
            for row in table:
                if row["verdict"] not in ("keep", "drop", "text"):
                    raise UserError("A verdict is none of keep, drop, text", got=f"{row['verdict']!r} for {row['id']}",
                                    hint=f"correct it in {path}")
                verdicts[row["id"]] = (row["verdict"], row["text"])
    return verdicts


def _make(config: Config, out: Path, work: Path, verdicts: dict, runner: Runner, listener: Runner | None,
          say: Callable[[str], None]) -> None:
    counts = list_rows(config, work)
    n_rows = sum(counts.values())
    if not n_rows:
        raise UserError("The sources hold no row", got=", ".join(counts), hint="check their paths and options")
    listed = sorted((work / "listed").glob("*.parquet"))
    check = Check(config.clean, config.output, verdicts)
    checked = run_stage("checking", check, listed, work / "checked", n_rows, runner)
    selection = select(checked, work / "rows.sqlite", config, verdicts)
    if config.label_check is not None:
        # Here in this process: one model uses all cores, and takes the memory of one.
        one = listener or (lambda stage, jobs: workers.run(stage, jobs, 1))
        hear(selection, checked, work, out, config,
             lambda name, stage, files, folder: run_stage(name, stage, files, folder, n_rows, one))
    finish(selection, config)
    sizes = split_sizes(selection)
    if not sizes:
        raise UserError("No row is left", got=f"{n_rows} rows, all dropped", hint=_reasons(selection))
    write_dataset(selection, checked, out, work, config, counts)
    selection.db.close()
    same_state(work, config, say, complete=True)
    discard(work)
    for split, (count, hours) in sizes.items():
        say(f"{split}: {count} rows, {spoken_time(hours * 3600)}")


def _state(config: Config) -> dict:
    """All that a build depends on, by name, so that a change can be named."""
    return {
        "format": FORMAT,
        "config": settings(config),
        "files": {name: sha256(path) for name, path in named_files(config).items()},
        "sources": {source.name: [source.corpus.provenance(), source.corpus.stamp()] for source in config.sources},
    }


def same_state(work: Path, config: Config, say: Callable[[str], None], *, complete: bool = False) -> bool:
    """Whether the work was complete in this state. Work of another state is thrown away, and why is said.

    complete: note that it now is.
    """
    state = json.loads(json.dumps(_state(config)))
    path = work / "state.json"
    if complete:
        write_json(path, {**state, "complete": True})
        return True
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if before is not None:
        was_complete = before.pop("complete", False)
        changed = list(_differences(before, state))
        if not changed:
            return was_complete
        say(f"starting anew, because this changed: {'; '.join(changed[:5])}")
        discard(work)
    write_json(path, state)
    return False


def discard(work: Path) -> None:
    """Remove all work. Renamed first: a folder half removed when a kill came would pass for a complete one."""
    for name in ("listed", "checked", "heard", "ready"):
        old = work / f"{name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if (work / name).is_dir():
            os.replace(work / name, old)
            shutil.rmtree(old, ignore_errors=True)
    (work / "rows.sqlite").unlink(missing_ok=True)


def _differences(before: object, now: object, where: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
    elif before != now:
        short = [text if len(text) < 60 else "…" for text in (json.dumps(before), json.dumps(now))]
        yield f"{where} from {short[0]} to {short[1]}"


def list_rows(config: Config, work: Path, rows_per_chunk: int = ROWS_PER_CHUNK) -> dict[str, int]:
    """Write the rows of all sources in chunks; gives how many each has."""
    done = work / "listed" / "complete.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    counts = {}
    chunks = itertools.count()
    with tqdm(desc="listing", unit=" rows", disable=None) as progress:
        for source in config.sources:
            counts[source.name] = 0
            for rows in _chunks(source.corpus.rows(), rows_per_chunk):
                path = work / "listed" / f"{next(chunks):07d}.parquet"
                if not path.is_file():
                    write_listed(path, source.name, rows)
                counts[source.name] += len(rows)
                progress.update(len(rows))
    write_json(done, counts)
    return counts


def _chunks(rows: Iterator[Row], n_rows: int) -> Iterator[list[Row]]:
    chunk, n_bytes = [], 0
    for row in rows:
        chunk.append(row)
        n_bytes += len(row.audio.data or b"")
        if len(chunk) == n_rows or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def run_stage(name: str, stage: workers.Stage, sources: Sequence[Path], folder: Path, n_rows: int, runner: Runner,
              rows_per_chunk: int = ROWS_PER_CHUNK) -> list[Path]:
    """Run a stage over all files that lack their result; gives the results in order."""
    targets = [folder / source.name for source in sources]
    jobs = [(source, target) for source, target in zip(sources, targets, strict=True) if not target.is_file()]
    skipped = (len(sources) - len(jobs)) * rows_per_chunk
    with tqdm(desc=name, total=n_rows, initial=min(skipped, n_rows), unit=" rows", disable=None) as progress:
        for count in runner(stage, jobs):
            progress.update(count)
    return targets


def _reasons(selection) -> str:
    found = selection.db.execute("select reason, count(*) from rows group by reason order by 2 desc").fetchall()
    return "the reasons were " + ", ".join(f"{reason} ({count})" for reason, count in found)


def chosen_runner(on: str) -> Runner | None:
    """What runs the stages: None for this machine's cores."""
    if on == "here":
        return None
    from feature_pipeline.on_ray import run_on_ray

    return run_on_ray


def reported(work: Callable[[], None]) -> int:
    """Run a command; what a person can put right becomes one line. Gives the exit code."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m feature_pipeline.build", description="Build a speech data set.")
    parser.add_argument("config", help="a YAML file, for example feature_pipeline/configs/asterisk-it.yaml")
    parser.add_argument("override", nargs="*", help="key=value, for example clean.max_seconds=20 or out=/data/x")
    parser.add_argument("--on", choices=("here", "ray"), default="here", help="this machine's cores, or a Ray cluster")
    args = parser.parse_args(arguments)

    def work() -> None:
        out = build(load(args.config, args.override), chosen_runner(args.on))
        print(f"report: {(out / 'report.html').absolute()}")

    return reported(work)


if __name__ == "__main__":
    sys.exit(main())
