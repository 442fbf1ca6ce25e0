"""One chunk of listed rows in, the same rows checked out: text cleaned, audio decoded, measured, its final bytes made.

What needs one row alone is decided here; what needs the whole corpus (duplicates, caps, splits) in `select.py`. A
dropped row stays in the table with its reason, without audio. A pure function from file to file, so that any worker
may run it, and a chunk that is there need not be made again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from feature_pipeline import text as texts
from feature_pipeline.config import Clean, Output
from feature_pipeline.decode import decode
from feature_pipeline.rows import AudioRef
from feature_pipeline.store import CHECKED, read_listed, write_table
from shared.audio import SAMPLE_RATE, Waveform, encode
from shared.checkpoint.embedded import embedded_base
from shared.checkpoint.tokenizer import tokens_of
from shared.errors import UserError

UNDECODABLE = "undecodable"
TOO_SHORT = "too short"
TOO_LONG = "too long"
TOO_MANY_TOKENS = "too many label tokens"
NO_TEXT = "no text"
SPEAKING_RATE = "impossible speaking rate"
SILENT = "silent"
CLIPPED = "clipped"
BY_VERDICT = "dropped by a verdict"
Verdicts = dict[str, tuple[str, str]]  # id -> (keep | drop | text, corrected text)
SPECIAL_TOKENS = 5  # start, language, task, no timestamps, end: they count against the decoder's positions


@dataclass(frozen=True)
class Check:
    """The stage: `check(listed, checked)` makes one file from the other and returns how many rows it has."""

    clean: Clean
    output: Output
    verdicts: Verdicts
    uses_model: ClassVar[bool] = False

    def __call__(self, listed: Path, checked: Path) -> int:
        rows = read_listed(listed)
        waveforms = decode([row["audio"] for row in rows], self.clean.max_seconds)
        done = [self._checked(row, waveform) for row, waveform in zip(rows, waveforms, strict=True)]
        if self.output.audio != "original" or any(row["audio"].is_part for row in rows):
            _encode([(row, out) for row, out in zip(rows, done, strict=True) if out["drop"] is None], self.output)
        for out in done:
            out.pop("waveform")
        write_table(checked, CHECKED, done)
        return len(done)

    def _checked(self, row: dict[str, Any], waveform: Waveform | UserError) -> dict[str, Any]:
        verdict, correction = self.verdicts.get(row["id"], ("", ""))
        text = texts.clean_text(correction if verdict == "text" else row["text"], self.clean.brackets)
        out = {**row, "audio": None, "text": text, "sentence": texts.sentence_key(text, row["text_language"]),
               "scripts": json.dumps(texts.scripts(text)), "drop": None, "waveform": None}
        if isinstance(waveform, UserError):
            return {**out, "drop": UNDECODABLE, "detail": str(waveform)}
        data = row["audio"].read()
        out |= _measured(waveform, text)
        out |= {"source_hash": hashlib.sha256(data).hexdigest(), "n_bytes_source": _source_bytes(row["audio"], data)}
        reason = (BY_VERDICT, None) if verdict == "drop" else self._reason(out, waveform)
        out["drop"], out["detail"] = reason
        if out["drop"] is None:
            out |= _original(row["audio"], data)
            out["waveform"] = waveform
        return out

    def _reason(self, out: dict[str, Any], waveform: Waveform) -> tuple[str | None, str | None]:
        """The first rule that the row breaks, and by how much."""
        rules, text, seconds = self.clean, out["text"], waveform.duration
        if seconds < rules.min_seconds:
            return TOO_SHORT, f"{seconds:.2f} s"
        if seconds > rules.max_seconds:
            return TOO_LONG, f"more than {rules.max_seconds:g} s"
        if not out["sentence"]:
            return NO_TEXT, None
        if out["loudness_dbfs"] < rules.silent_below_dbfs:
            return SILENT, f"{out['loudness_dbfs']:.0f} dBFS at its loudest"
        clipped = float(np.mean(np.abs(waveform.samples) >= 0.999))
        if clipped > rules.max_clipped:
            return CLIPPED, f"{clipped:.1%} of the samples at full scale"
        rate = out["letters_per_second"]
        highest = rules.max_letters_per_second / (3 if texts.is_dense(text) else 1)
        lowest = rules.min_letters_per_second / (3 if texts.is_dense(text) else 1)
        if not lowest <= rate <= highest:
            return SPEAKING_RATE, f"{rate:.1f} letters a second"
        n_tokens = self._n_label_tokens(text)
        if n_tokens > rules.max_label_tokens:
            return TOO_MANY_TOKENS, f"{n_tokens}"
        return None, None

    def _n_label_tokens(self, text: str) -> int:
        bound = len(text.encode()) + SPECIAL_TOKENS  # a token is at least one byte
        if bound <= self.clean.max_label_tokens:
            return bound
        folder = Path(self.clean.tokenizer) if self.clean.tokenizer else embedded_base()
        return len(tokens_of(folder).encode(text)) + SPECIAL_TOKENS


def _measured(waveform: Waveform, text: str) -> dict[str, Any]:
    samples = waveform.samples
    tenth = SAMPLE_RATE // 10
    frames = samples[: len(samples) // tenth * tenth].reshape(-1, tenth) if len(samples) >= tenth else samples[None]
    loudest = float(np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1).max()))
    return {
        "duration": waveform.duration,
        "loudness_dbfs": 20 * np.log10(max(loudest, 1e-7)),
        "sample_hash": hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest(),
        "letters_per_second": texts.n_letters(text) / max(waveform.duration, 1e-3),
    }


def _source_bytes(ref: AudioRef, data: bytes) -> int:
    return 0 if ref.is_part else len(data)  # a part's share of its recording is not known


def _original(ref: AudioRef, data: bytes) -> dict[str, Any]:
    """The bytes as they came, by reference where a file holds them; headerless G.722 gets a header."""
    if ref.name.lower().endswith(".g722"):
        data, name = wav_of_g722(data), f"{Path(ref.name).stem}.wav"
        return {"audio": {"bytes": data, "path": name}, "n_bytes": len(data)}
    kept = data if ref.path is None else None
    where = {} if kept else {"file": str(ref.path), "member": ref.member}
    return {"audio": {"bytes": kept, "path": ref.name}, "n_bytes": len(data), **where}


def wav_of_g722(data: bytes) -> bytes:
    """Raw G.722 (64 kbit/s, 16 kHz) in a WAV container, so that the bytes say what they are. The sound is untouched.

    0x028F is the WAVE format tag for G.722 in Microsoft's mmreg.h; the clip may then travel without its file name.
    """
    form = struct.pack("<HHIIHHH", 0x028F, 1, SAMPLE_RATE, 8000, 1, 4, 0)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    chunks += b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def _encode(kept: Sequence[tuple[dict[str, Any], dict[str, Any]]], output: Output) -> None:
    """Put 16 kHz mono FLAC or Opus into the rows that want it: all of them, or the parts cut from recordings."""
    kind = "flac" if output.audio == "original" else output.audio  # a part cannot keep its bytes: lossless then
    chosen = [(row, out) for row, out in kept if output.audio != "original" or row["audio"].is_part]
    if not chosen:
        return
    with tempfile.TemporaryDirectory(prefix="encode-") as folder:
        clips = encode([out["waveform"] for _, out in chosen], kind, output.opus_kbps, Path(folder))
    for (row, out), data in zip(chosen, clips, strict=True):
        name = f"{row['id'].rsplit('/', 1)[-1]}.{'flac' if kind == 'flac' else 'ogg'}"
        out |= {"audio": {"bytes": data, "path": name}, "file": None, "member": None, "n_bytes": len(data)}
