"""A large archive into text: `python -m feature_pipeline.transcribe CONFIG [key=value …] [--on ray]`.

The sources of a config are listed as for a build, every recording is transcribed whole, whatever its length, and
`transcripts.jsonl` in the config's `out` holds one line for each. Goes on where it was stopped, as a build does. Labels
are not read and nothing is cleaned: for a data set, see `feature_pipeline.build`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from feature_pipeline import workers
from feature_pipeline.command import arguments_of, chosen
from feature_pipeline.config import Config, LabelCheck
from feature_pipeline.label_check import transcriber
from feature_pipeline.rows import AudioRef
from feature_pipeline.stages import Plan, Runner, list_rows
from feature_pipeline.state import discard, same_state
from feature_pipeline.store import read_listed
from shared.audio import SHORT_BYTES, is_short, load_audio
from shared.errors import UserError
from shared.system.ahead import in_order
from shared.system.command import reported
from shared.system.files import whole_file, write_text
from shared.transcript import Transcript
from shared.whisper_constants import WINDOW_SECONDS

PROGRAM = "feature_pipeline.transcribe"
ROWS_PER_CHUNK = 16  # as many as an engine decodes together; what a kill costs are those at work


@dataclass(frozen=True)
class Transcribe:
    """The stage: `transcribe(listed, lines)` writes a line of JSON for each row and gives how many there are."""

    checkpoint: str
    beam_size: int
    uses_model: ClassVar[bool] = True

    def __call__(self, listed: Path, lines: Path) -> int:
        rows = read_listed(listed)
        begun = lines.with_suffix(".begun")  # a line is kept as soon as it is there: recordings may last hours
        known = dict(_whole_lines(begun))
        todo = [row for row in rows if row["id"] not in known]
        if todo:
            transcriber(self.checkpoint)  # once, before threads ask for it; without it there is nothing to go on with
        begun.parent.mkdir(parents=True, exist_ok=True)
        with begun.open("a", encoding="utf-8") as file, closing(in_order(
                todo, self._transcribed, alone=self._alone, may_share=_may_share)) as found:
            for row, line in found:
                known[row["id"]] = json.dumps(line.result(), ensure_ascii=False) + "\n"
                file.write(known[row["id"]])
                file.flush()
        write_text(lines, "".join(known[row["id"]] for row in rows))
        begun.unlink()
        return len(rows)

    def _alone(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._transcribed(row, None)

    def _transcribed(self, row: dict[str, Any], cancel: threading.Event | None) -> dict[str, Any]:
        known = {"id": row["id"], "language": row["language"], "speaker": row["speaker"]}
        try:
            transcript = self._transcript(row["audio"], row["language"], cancel)
        except UserError as error:  # one damaged recording must not stop an archive
            return {**known, "error": str(error)}
        return {**known, "duration": round(transcript.duration, 3), "text": transcript.text,
                "segments": [{key: value for key, value in asdict(segment).items() if key in ("text", "start", "end")}
                             for segment in transcript.segments],
                "warnings": list(transcript.warnings)}

    def _transcript(self, audio: AudioRef, language: str, cancel: threading.Event | None) -> Transcript:
        model = transcriber(self.checkpoint)
        if audio.is_part and audio.path is not None:
            return model.transcribe(load_audio(audio.path, start=audio.start, end=audio.end, cancel=cancel),
                                    language=language, beam_size=self.beam_size, cancel=cancel)
        if audio.path is not None and audio.member is None:
            return model.transcribe(audio.path, language=language, beam_size=self.beam_size, cancel=cancel)
        with tempfile.TemporaryDirectory(prefix="transcribe-") as folder:
            path = Path(folder) / f"recording{Path(audio.name).suffix}"
            path.write_bytes(audio.read())
            return model.transcribe(path, language=language, beam_size=self.beam_size, cancel=cancel)


def _may_share(row: dict[str, Any]) -> bool:
    """Short clips fill batches together; a long recording fills its own."""
    audio: AudioRef = row["audio"]
    if audio.is_part:
        return audio.end is not None and audio.end - audio.start <= WINDOW_SECONDS
    if audio.data is not None:
        return len(audio.data) <= SHORT_BYTES
    assert audio.path is not None  # without data there is a file
    return audio.path.stat().st_size <= SHORT_BYTES if audio.member is not None else is_short(audio.path)


def _whole_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(id, line) of what an earlier start has done; a last line cut off by a kill is left out."""
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_text(path, whole)
        for line in whole.splitlines(keepends=True):
            yield json.loads(line)["id"], line


def transcribe(config: Config, runner: Runner | None = None, say: Callable[[str], None] = print) -> Path:
    """Transcribe all recordings, or go on doing it; gives the path of transcripts.jsonl. Raises UserError."""
    work = Path(config.out) / ".transcribe"
    result = Path(config.out) / "transcripts.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    rules = config.label_check or LabelCheck()
    with FileLock(work / "lock"):
        if same_state(work, config, say) and result.is_file():
            say(f"{result} is complete and nothing has changed")
            return result
        n_rows = sum(list_rows(config, work, ROWS_PER_CHUNK).values())
        plan = Plan(runner or (lambda stage, jobs: workers.run(stage, jobs, 1)), n_rows, ROWS_PER_CHUNK)
        stage = Transcribe(rules.checkpoint, rules.beam_size)
        lines = plan.run("transcribing", stage, sorted((work / "listed").glob("*.parquet")), work / "transcribed")
        with whole_file(result) as draft, draft.open("wb") as out:
            for path in lines:
                out.write(path.read_bytes())
        same_state(work, config, say, complete=True)
        discard(work)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    given = arguments_of(PROGRAM, "Transcribe an archive.", arguments)
    return reported(PROGRAM, lambda: print(f"transcripts: {transcribe(*chosen(given)).absolute()}"))


if __name__ == "__main__":
    sys.exit(main())
