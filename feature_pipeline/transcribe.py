"""A large archive into text: `python -m feature_pipeline.transcribe CONFIG [key=value …] [--on ray]`.

The sources of a config are listed as for a build, every recording is transcribed whole, whatever its length, and
`transcripts.jsonl` in the config's `out` holds one line for each. Goes on where it was stopped, as a build does. Labels
are not read and nothing is cleaned: for a data set, see `feature_pipeline.build`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from shared.audio import Waveform, is_short, load_audio
from shared.errors import UserError
from shared.system.command import reported
from shared.system.files import whole_file, write_text
from shared.transcript import Transcript
from shared.whisper_constants import WINDOW_SECONDS

PROGRAM = "feature_pipeline.transcribe"
ROWS_PER_CHUNK = 16  # short ones are decoded together; of long ones a kill costs the one that was at work


@dataclass(frozen=True)
class Transcribe:
    """The stage: `transcribe(listed, lines)` writes a line of JSON for each row and gives how many there are."""

    checkpoint: str
    beam_size: int
    uses_model: ClassVar[bool] = True

    def __call__(self, listed: Path, lines: Path) -> int:
        rows = read_listed(listed)
        transcriber(self.checkpoint)  # without it there is nothing to go on with
        short = [row for row in rows if _is_short(row["audio"])]
        found = self._together(short)
        begun = lines.with_suffix(".begun")  # a long recording's line is kept as soon as it is there
        begun.parent.mkdir(parents=True, exist_ok=True)
        found |= dict(_whole_lines(begun))
        with begun.open("a", encoding="utf-8") as file:
            for row in rows:
                if row["id"] not in found:
                    found[row["id"]] = _line(row, self._alone(row["audio"], row["language"]))
                    file.write(found[row["id"]])
                    file.flush()
        write_text(lines, "".join(found[row["id"]] for row in rows))
        begun.unlink()
        return len(rows)

    def _together(self, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        """The lines of short recordings, by id; those in one language are decoded together."""
        lines: dict[str, str] = {}
        by_language: dict[str, list[tuple[dict[str, Any], Path | Waveform]]] = {}
        for row in rows:
            source = _source(row["audio"])
            if isinstance(source, UserError):
                lines[row["id"]] = _line(row, source)
            else:
                by_language.setdefault(row["language"], []).append((row, source))
        for language, clips in by_language.items():
            found = transcriber(self.checkpoint).transcribe_each(
                [source for _, source in clips], language=language, beam_size=self.beam_size)
            lines |= {row["id"]: _line(row, one) for (row, _), one in zip(clips, found, strict=True)}
        return lines

    def _alone(self, audio: AudioRef, language: str) -> Transcript | UserError:
        """One damaged recording must not stop an archive."""
        model = transcriber(self.checkpoint)
        try:
            if audio.is_part and audio.path is not None:
                return model.transcribe(load_audio(audio.path, start=audio.start, end=audio.end), language=language,
                                        beam_size=self.beam_size)
            if audio.path is not None and audio.member is None:
                return model.transcribe(audio.path, language=language, beam_size=self.beam_size)
            with tempfile.TemporaryDirectory(prefix="transcribe-") as folder:
                path = Path(folder) / f"recording{Path(audio.name).suffix}"
                path.write_bytes(audio.read())
                return model.transcribe(path, language=language, beam_size=self.beam_size)
        except UserError as error:
            return error


def _line(row: dict[str, Any], found: Transcript | UserError) -> str:
    known = {"id": row["id"], "language": row["language"], "speaker": row["speaker"]}
    if isinstance(found, UserError):
        return json.dumps({**known, "error": str(found)}, ensure_ascii=False) + "\n"
    segments = [{"text": one.text, "start": one.start, "end": one.end} for one in found.segments]
    return json.dumps({**known, "duration": round(found.duration, 3), "text": found.text, "segments": segments,
                       "warnings": list(found.warnings)}, ensure_ascii=False) + "\n"


def _is_short(audio: AudioRef) -> bool:
    if audio.is_part:
        return audio.end is not None and audio.end - audio.start <= WINDOW_SECONDS
    return audio.path is not None and audio.member is None and is_short(audio.path)


def _source(audio: AudioRef) -> Path | Waveform | UserError:
    """A whole file as its path: what is left of one that is cut off is read, with a warning."""
    assert audio.path is not None  # else it is not known to be short
    if not audio.is_part:
        return audio.path
    try:
        return load_audio(audio.path, start=audio.start, end=audio.end)
    except UserError as error:
        return error


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
