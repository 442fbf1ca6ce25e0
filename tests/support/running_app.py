"""The suite's pages, really launched in this process, once: for the tests that call it and those that look at it."""

from __future__ import annotations

import atexit
import functools
import time
from dataclasses import dataclass
from pathlib import Path

from shared.api import Settings
from shared.serving import Limits, Serving
from shared.system.files import files_below
from shared.ui import RESULTS, UPLOADS
from shared.ui.pages.suite import NAME, PAGES
from shared.ui.server.launch import build, start
from shared.ui.tools.programs import programs

# Under UPLOADS as the test began: what a page sent stays some minutes after it was closed, and files of tests share a
# process in an order that is nobody's choice.
there_before: set[Path] = set()
MAX_SECONDS, MAX_BYTES = 4 * 3600.0, 300_000_000


@dataclass(frozen=True)
class RunningApp:
    address: str
    uploads: Path = UPLOADS
    results: Path = RESULTS

    def received(self) -> list[Path]:
        """Files with something in them under Gradio's folder that are nobody's download, since the test began."""
        kinds = {".txt", ".srt", ".vtt", ".tsv", ".json", ".docx", ".zip", ".csv", ".jsonl"}
        return [path for path, state in files_below(self.uploads)
                if path.suffix not in kinds and state.st_size and path not in there_before]

    def keeps_only(self, before: set[Path]) -> bool:
        """Whether what was received since is gone; a closed page is noticed after a moment."""
        for _ in range(100):
            if set(self.received()) <= before:
                return True
            time.sleep(0.2)
        return False


@functools.cache
def running_app(fine_tuned: str = "embedded:whisper-base-it") -> RunningApp:
    served = Serving("embedded:whisper-base", fine_tuned, limits=Limits(MAX_SECONDS, MAX_BYTES))
    demo = build(NAME, PAGES, served)
    address = start(demo, max_bytes=MAX_BYTES, block=False, api=programs(served, Settings()))
    atexit.register(demo.close)
    return RunningApp(address.rstrip("/"))
