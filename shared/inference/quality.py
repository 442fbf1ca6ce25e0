"""Whether a decoded window can be believed: repetition, confidence, speech at all.

The signal decides, not a list of phrases. The three thresholds are those of Whisper's reference decoder
(Radford et al. 2022, section 4.5): compression ratio 2.4, mean log-probability -1.0, no-speech probability 0.6.
"""

from __future__ import annotations

import zlib

from shared.engines import Decoded

MAX_COMPRESSION = 2.4
MIN_LOGPROB = -1.0
MIN_NO_SPEECH = 0.6


def compression_ratio(text: str) -> float:
    """Bytes of text for a byte of its zlib form: above 2.4 it says the same over and over."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_silent(decoded: Decoded) -> bool:
    """The model finds no speech and does not trust what it wrote."""
    return decoded.no_speech_prob > MIN_NO_SPEECH and decoded.avg_logprob < MIN_LOGPROB


def looks_wrong(decoded: Decoded, text: str) -> bool:
    """Never ended, repeats itself, or is unsure throughout: worth another try."""
    return not decoded.finished or repeats(text) or decoded.avg_logprob < MIN_LOGPROB


def repeats(text: str) -> bool:
    return compression_ratio(text) > MAX_COMPRESSION


def better(candidates: list[tuple[Decoded, str]]) -> tuple[Decoded, str]:
    """Of several tries none of which convinced: one that does not repeat, then one that ended, then the surest."""
    return max(candidates, key=lambda one: (not repeats(one[1]), one[0].finished, one[0].avg_logprob))
