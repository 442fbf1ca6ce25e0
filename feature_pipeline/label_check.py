"""A model transcribes every clip; its text, the hypothesis, is compared with the label.

    TranscribeClips  checked ─▶ transcribed, a stage as `clean.Check` is: here, or one model per worker elsewhere
    check_labels     all chunks, and the hypotheses into the selection
    write_labels     labels.parquet, and labels.html with the worst for a person to judge

Hypotheses are kept in `labels.parquet` by the clip's samples, so that a later build transcribes only what is new.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipeline.chunks import Chunks
from feature_pipeline.config import Config, LabelCheck
from feature_pipeline.decode import decode
from feature_pipeline.report.label_page import Doubtful, label_page
from feature_pipeline.report.page import as_mp3
from feature_pipeline.rows import AudioRef
from feature_pipeline.selection import Selection
from feature_pipeline.stages import Plan
from feature_pipeline.store import write_table
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.system.files import write_text
from shared.wer import character_errors, word_errors

if TYPE_CHECKING:
    from shared.audio import Waveform
    from shared.inference import Transcriber

Key = tuple[str, str, str]  # samples' hash, language of the speech, language of the text
NO_LIMIT = 3600.0  # seconds; the chunk's clips passed the check, whose limit is far below
TRANSCRIBED = pa.schema([("position", pa.int32()), ("sample_hash", pa.string()), ("hypothesis", pa.string()),
                   ("wer", pa.float64()), ("cer", pa.float64()), ("mismatch", pa.float64())])
LABELS = pa.schema([
    ("id", pa.string()), ("split", pa.string()), ("dropped", pa.string()), ("text", pa.string()),
    ("hypothesis", pa.string()), ("wer", pa.float64()), ("cer", pa.float64()), ("mismatch", pa.float64()),
    ("sample_hash", pa.string()), ("language", pa.string()), ("text_language", pa.string()), ("model", pa.string()),
])


@dataclass(frozen=True)
class TranscribeClips:
    """The stage: `stage(checked, transcribed)` transcribes one chunk's rows and gives how many there were."""

    checkpoint: str
    beam_size: int
    known: Path  # labels.parquet of an earlier build, if there is one
    uses_model: ClassVar[bool] = True

    @property
    def model(self) -> str:
        """What gives the same hypotheses: the checkpoint and how it decodes."""
        return f"{self.checkpoint} beam {self.beam_size}"

    def __call__(self, checked: Path, transcribed: Path) -> int:
        chunks = Chunks([checked])
        rows = [(n, chunks.row((0, n))) for n, reason in enumerate(pq.read_table(checked, columns=["drop"])["drop"])
                if reason.as_py() is None]
        known = self._known([row["sample_hash"] for _, row in rows])
        new = [(n, row) for n, row in rows if _key(row) not in known]
        known |= self._transcribed([row for _, row in new])
        write_table(transcribed, TRANSCRIBED, [
            {"position": n, "sample_hash": row["sample_hash"],
             **_compared(row, known[_key(row)])} for n, row in rows])
        return len(pq.read_table(checked, columns=["id"]))

    def _known(self, hashes: Sequence[str]) -> dict[Key, str]:
        if not self.known.is_file() or not hashes:
            return {}
        found = pq.read_table(self.known, filters=[("sample_hash", "in", hashes), ("model", "=", self.model)])
        return {_key(row): row["hypothesis"] for row in found.to_pylist() if "text_language" in row}

    def _transcribed(self, rows: Sequence[dict[str, Any]]) -> dict[Key, str]:
        """Clips that are asked for in the same way are decoded together."""
        refs = [AudioRef(row["audio"]["path"], data=row["audio"]["bytes"]) for row in rows]
        asked: dict[tuple[str, str], list[tuple[Key, Waveform]]] = {}
        for row, waveform in zip(rows, decode(refs, NO_LIMIT), strict=True):
            if isinstance(waveform, UserError):
                raise waveform
            translated = row["text_language"] == "en" != row["language"]  # Whisper translates into English only
            how = (row["language"], "translate" if translated else "transcribe")
            asked.setdefault(how, []).append((_key(row), waveform))
        texts = {}
        for (language, task), clips in asked.items():
            found = transcriber(self.checkpoint).transcribe_each(
                [waveform for _, waveform in clips], language=language, task=task, beam_size=self.beam_size)
            for (key, _), transcript in zip(clips, found, strict=True):
                if isinstance(transcript, UserError):
                    raise transcript
                texts[key] = transcript.text
        return texts


@functools.lru_cache(maxsize=1)
def transcriber(checkpoint: str) -> Transcriber:
    """The model of this process."""
    from shared.inference import Transcriber  # brings torch: a build without a model starts without it

    return Transcriber(Checkpoint.parse(checkpoint))


def _key(row: dict[str, Any]) -> Key:
    return row["sample_hash"], row["language"], row["text_language"]


def _compared(row: dict[str, Any], hypothesis: str) -> dict[str, Any]:
    words = word_errors(row["text"], hypothesis, row["text_language"])
    signs = character_errors(row["text"], hypothesis, row["text_language"])
    n_written = signs.hits + signs.substitutions + signs.insertions
    # CER has no upper end, so a model caught in a loop would rank before every wrong label; this stays within 0 … 1.
    mismatch = 1 - signs.hits / max(signs.reference_length, n_written, 1)
    return {"hypothesis": hypothesis, "wer": words.wer, "cer": signs.wer, "mismatch": mismatch}


def check_labels(selection: Selection, checked: Sequence[Path], work: Path, config: Config, plan: Plan) -> None:
    """Transcribe all chunks, and put the hypotheses and their errors into the selection."""
    stage = _stage(config, Path(config.out, "labels.parquet").absolute())
    transcribed = plan.run("transcribing", stage, checked, work / "transcribed")
    for chunk, path in enumerate(transcribed):
        rows = pq.read_table(path).to_pylist()
        selection.db.executemany(
            "update rows set hypothesis = ?, wer = ?, cer = ?, mismatch = ? where chunk = ? and position = ?",
            [(row["hypothesis"], row["wer"], row["cer"], row["mismatch"], chunk, row["position"]) for row in rows])


def _rules(config: Config) -> LabelCheck:
    return config.label_check or LabelCheck()


def _stage(config: Config, known: Path) -> TranscribeClips:
    return TranscribeClips(_rules(config).checkpoint, _rules(config).beam_size, known)


def write_labels(selection: Selection, chunks: Chunks, folder: Path, config: Config) -> None:
    """`labels.parquet`, every row with a hypothesis, and `labels.html`, the worst of them for a person to judge."""
    rules, model = _rules(config), _stage(config, Path()).model
    compared = selection.db.execute("select id, split, reason, text, hypothesis, wer, cer, mismatch, sample_hash, "
                                 "language, text_language from rows where hypothesis is not null order by n")
    write_table(folder / "labels.parquet", LABELS,
                [dict(zip(LABELS.names, (*row, model), strict=True)) for row in compared])
    worst = selection.db.execute(
        "select id, split, reason, text, hypothesis, wer, text_language, chunk, position from rows "
        "where hypothesis is not null and not kept order by mismatch desc, n limit ?",
        (rules.listed,)).fetchall()
    clips = as_mp3([chunks.row(row[-2:])["audio"]["bytes"] for row in worst])
    names = ("id", "split", "dropped", "text", "hypothesis", "wer", "language")
    doubtful = [Doubtful(**dict(zip(names, row[:-2], strict=True)), mp3=mp3)
                for row, mp3 in zip(worst, clips, strict=True)]
    n_compared, = selection.db.execute("select count(*) from rows where hypothesis is not null").fetchone()
    write_text(folder / "labels.html", label_page(config, doubtful, n_compared))
