"""From the corpora a config names to one data set on disk: `python -m feature_pipeline.build CONFIG [key=value …]`.

    list     corpora ─▶ .build/listed/*.parquet       rows that refer to their audio
    check    listed ─▶ .build/checked/*.parquet       text cleaned, audio measured, in parallel
    select   checked ─▶ .build/rows.sqlite            duplicates, splits, leaks, caps, mix
    labels   checked ─▶ .build/transcribed/*.parquet  optional: a model's text, to compare with the label
    write    ─▶ data/*.parquet, manifest.json, README.md, report.html

Every file appears whole or not at all, so a killed build goes on where it stopped; one with other settings or other
sources starts anew. This module knows the order of the stages and nothing of what they do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from feature_pipeline import workers
from feature_pipeline.clean import Check, Verdicts
from feature_pipeline.command import arguments_of, chosen
from feature_pipeline.config import Config
from feature_pipeline.dataset import write_dataset
from feature_pipeline.label_check import check_labels
from feature_pipeline.publish import publish
from feature_pipeline.selection import Selection, finish, select, split_sizes
from feature_pipeline.stages import Plan, Runner, list_rows
from feature_pipeline.state import discard, same_state
from shared.errors import UserError
from shared.system.command import reported
from shared.system.files import full_disk_as_user_error
from shared.tables import read_file
from shared.units import spoken_time

PROGRAM = "feature_pipeline.build"


def build(config: Config, runner: Runner | None = None, say: Callable[[str], None] = print) -> Path:
    """Make the data set, or go on making it; gives its folder. Raises UserError."""
    out = Path(config.out)
    work = out / ".build"
    work.mkdir(parents=True, exist_ok=True)
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
            with full_disk_as_user_error(out.name):
                _make(config, verdicts, runner, say)
        publish(out, config, say)
    return out


def read_verdicts(paths: Sequence[str]) -> Verdicts:
    """What people decided after listening: id -> (keep | drop | text, corrected text). Later files win."""
    verdicts = {}
    for path in paths:
        for row in read_file(Path(path)):
            if not {"id", "verdict", "text"} <= set(row.cells):
                raise UserError("A file of verdicts needs the columns id, verdict, text", got=row.where,
                                hint=f"it has {', '.join(row.cells)}")
            verdict = row.text("verdict")
            if verdict not in ("keep", "drop", "text"):
                raise UserError("A verdict is none of keep, drop, text", got=f"{verdict!r} in {row.where}",
                                hint="correct it")
            verdicts[row.text("id")] = (verdict, row.text("text"))
    return verdicts


def _make(config: Config, verdicts: Verdicts, runner: Runner | None, say: Callable[[str], None]) -> None:
    out, work = Path(config.out), Path(config.out) / ".build"
    counts = list_rows(config, work)
    n_rows = sum(counts.values())
    if not n_rows:
        raise UserError("The sources hold no row", got=", ".join(counts), hint="check their paths and options")
    listed = sorted((work / "listed").glob("*.parquet"))
    cores = config.workers or os.cpu_count() or 1
    plan = Plan(runner or (lambda stage, jobs: workers.run(stage, jobs, cores)), n_rows)
    checked = plan.run("checking", Check(config.clean, config.output, verdicts), listed, work / "checked")
    selection = select(checked, work / "rows.sqlite", config, verdicts)
    if config.label_check is not None:
        # Without a cluster in this process: one model uses all cores, and takes the memory of one.
        one = Plan(runner or (lambda stage, jobs: workers.run(stage, jobs, 1)), n_rows)
        check_labels(selection, checked, work, config, one)
    finish(selection, config)
    sizes = split_sizes(selection)
    if not sizes:
        raise _nothing_left(selection, n_rows)
    dropped = _dropped(selection)
    write_dataset(selection, checked, out, work, config, counts)
    selection.db.close()
    same_state(work, config, say, complete=True)
    discard(work)
    for split, (count, hours) in sizes.items():
        say(f"{split}: {count} rows, {spoken_time(hours * 3600)}")
    if dropped:
        n_dropped = n_rows - sum(count for count, _ in sizes.values())
        say(f"dropped: {n_dropped} of {n_rows} rows: {dropped}")
        if n_dropped > n_rows / 2:
            say("note: more than half was dropped. The report has examples; where they are good, set the limit under "
                "`clean` that does not suit this corpus")


def _dropped(selection: Selection) -> str:
    """The reasons with their numbers, the most frequent first."""
    found = selection.db.execute("select reason, count(*) from rows where reason is not null group by reason "
                                 "order by 2 desc").fetchall()
    return ", ".join(f"{reason} ({count})" for reason, count in found)


def _nothing_left(selection: Selection, n_rows: int) -> UserError:
    """The reasons with their numbers, and the first row with its own."""
    name, text, reason, detail = selection.db.execute(
        "select id, text, reason, detail from rows order by n limit 1").fetchone()
    return UserError("No row is left", got=f"{n_rows} rows, all dropped: {_dropped(selection)}. The first is {name}, "
                     f"“{text[:60]}”: {reason}{f' ({detail})' if detail else ''}",
                     hint="correct the source, or the limit under `clean` that does not suit it")


def main(arguments: Sequence[str] | None = None) -> int:
    given = arguments_of(PROGRAM, "Build a speech data set.", arguments)

    def work() -> None:
        out = build(*chosen(given))
        print(f"report: {(out / 'report.html').absolute()}")

    return reported(PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
