"""What a build in progress depends on, so that it goes on only with the same settings and sources."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feature_pipeline.archives import sha256
from feature_pipeline.config import Config, named_files, settings
from feature_pipeline.store import write_json

FORMAT = 2  # of the work folder; a new number makes every build start anew


def _state(config: Config) -> dict[str, Any]:
    """All that a build depends on, by name, so that a change can be named."""
    return {
        "format": FORMAT,
        "config": settings(config),
        "files": {name: sha256(path) for name, path in named_files(config).items()},
        "sources": {source.name: [source.corpus.provenance(), source.corpus.stamp()] for source in config.sources},
    }


def same_state(work: Path, config: Config, say: Callable[[str], None], *, complete: bool = False) -> bool:
    """Whether the work was complete in this state. Work of another state is thrown away, and the reason is reported.

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
    for name in ("listed", "checked", "transcribed", "ready"):
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
