"""What is asked of an app and what it answers: plain values, made and read by pages, API, command line and programs."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.audio import Source
from shared.checkpoint import Account, Checkpoint
from shared.options import Options
from shared.transcript import Transcript


@dataclass(frozen=True)
class Request:
    """One recording to be transcribed, and how: what a page, the API or a program asks for.

    Attributes:
        source: path of a media file, a Waveform, or an iterator of float32 blocks at 16 kHz.
        options: language, task and so on.
        engine: "auto", "torch" or "ctranslate2".
        start, end: seconds of a file; None for its end.
        track: audio track of a file, from 1; None for its default one.
        checkpoint: BASE, FINE_TUNED or a name that `Checkpoint.parse` reads; None: whichever serves the language.
        account: of the visitor who asks, where they signed in.
    """

    source: Source
    options: Options = field(default_factory=Options)
    engine: str = "auto"
    start: float = 0.0
    end: float | None = None
    track: int | None = None
    checkpoint: str | None = None
    account: Account | None = None


@dataclass(frozen=True)
class Answer:
    """A transcript and how it came about.

    Attributes:
        transcript: the text with its times.
        checkpoint: which one answered.
        notice: why not the fine-tuned one, as a sentence; None where it did.
        seconds: of work, reading included.
    """

    transcript: Transcript
    checkpoint: Checkpoint
    notice: str | None
    seconds: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio for each second of work."""
        return self.transcript.duration / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Limits:
    """What a visitor may send, and what a visitor may have loaded.

    Attributes:
        max_seconds: of a recording; None for any.
        max_bytes: of a file; None for any.
        allowed: Hub ids that may be loaded on demand, None for any (one's own machine).
        signed_in: whether a visitor who signed in at the Hub may name any checkpoint there; it is read with their own
            token, and answers them alone.
        listed, datasets: Hub ids of checkpoints and data sets that may be read with this machine's Hub token though a
            visitor names them; anything else that a visitor names is read as a stranger would.
    """

    max_seconds: float | None = None
    max_bytes: int | None = None
    allowed: tuple[str, ...] | None = None
    signed_in: bool = False
    listed: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
