"""A transcript in the forms of OpenAI's audio API: JSON answers and the events of a stream.

Pure functions. Field names and values: https://platform.openai.com/docs/api-reference/audio, as its Python client
(openai 3.57) reads them. What this program does not know (token ids, temperature, compression) is left at the value
that says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from shared.languages import language_name
from shared.transcript import Transcript, to_srt, to_vtt

RESPONSE_FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
GRANULARITIES = ("segment", "word")


def answer(transcript: Transcript, form: str, granularities: tuple[str, ...], task: str) -> tuple[Any, str]:
    """A transcript as the body of an answer.

    Args:
        transcript: with words where `granularities` names them, with speakers for "diarized_json".
        form: one of RESPONSE_FORMATS.
        granularities: which of GRANULARITIES "verbose_json" holds.
        task: "transcribe" or "translate".

    Returns:
        (a value for JSON or a text, its media type).
    """
    if form in ("srt", "vtt"):
        return (to_vtt(transcript), "text/vtt") if form == "vtt" else (to_srt(transcript), "application/x-subrip")
    if form == "text":
        return transcript.text + "\n", "text/plain"
    if form == "verbose_json":
        return _verbose(transcript, granularities, task), "application/json"
    if form == "diarized_json":
        segments = [{"type": "transcript.text.segment"} | segment for segment in _spoken(transcript)]
        return {"task": "transcribe", "duration": transcript.duration, "text": transcript.text, "segments": segments,
                "usage": usage(transcript)}, "application/json"
    return {"text": transcript.text, "usage": usage(transcript)}, "application/json"


def usage(transcript: Transcript) -> dict[str, Any]:
    """How much audio was read; nothing is billed."""
    return {"type": "duration", "seconds": round(transcript.duration, 2)}


def events(transcript: Transcript, *, diarized: bool) -> Iterator[dict[str, Any]]:
    """The last events of a stream: who says what, where asked for, and the whole text."""
    if diarized:
        for segment in _spoken(transcript):
            yield {"type": "transcript.text.segment"} | segment
    yield {"type": "transcript.text.done", "text": transcript.text, "usage": usage(transcript)}


def _verbose(transcript: Transcript, granularities: tuple[str, ...], task: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": task, "language": language_name(transcript.language).lower(), "duration": transcript.duration,
        "text": transcript.text, "usage": usage(transcript)}
    if "segment" in granularities:
        body["segments"] = [{
            "id": number, "seek": round(segment.start * 100), "start": segment.start, "end": segment.end,
            "text": segment.text, "tokens": [], "temperature": 0.0, "avg_logprob": segment.avg_logprob,
            "compression_ratio": _compression(segment.text), "no_speech_prob": segment.no_speech_prob,
        } for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        body["words"] = [{"word": word.text.strip(), "start": word.start, "end": word.end}
                         for word in transcript.words]
    return body


def _spoken(transcript: Transcript) -> list[dict[str, Any]]:
    return [{"id": f"seg_{number:03d}", "start": segment.start, "end": segment.end, "text": segment.text,
             "speaker": segment.speaker or "unknown"} for number, segment in enumerate(transcript.segments)]


def _compression(text: str) -> float:
    """Bytes of a text over its bytes compressed, as in Whisper's reference decoder: repetition gives a high value."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 1.0
