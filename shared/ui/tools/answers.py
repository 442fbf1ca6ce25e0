"""What the five tools give back: structured values, and the short text that says the same to a reader."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.languages import language_name
from shared.units import short_clock, spoken_time


class Word(BaseModel):
    """A word of a segment."""

    text: str
    start: float = Field(description="seconds from the start of what was read")
    end: float = Field(description="seconds from the start of what was read")
    probability: float = Field(description="0 to 1")


class Segment(BaseModel):
    """A sentence or so."""

    start: float = Field(description="seconds from the start of what was read")
    end: float = Field(description="seconds from the start of what was read")
    text: str
    speaker: str | None = Field(description='"Speaker 1" and so on; null where speakers were not asked for')
    words: list[Word] = Field(description="empty unless asked for")


class Transcription(BaseModel):
    """The text of a recording."""

    text: str = Field(description="the whole text; empty where nobody speaks")
    language: str = Field(description="ISO 639-1 code of the speech")
    duration: float = Field(description="length of the recording that was read, seconds")
    segments: list[Segment]
    checkpoint: str = Field(description="which checkpoint answered")
    notes: list[str] = Field(description="what the reader should know, such as why the base checkpoint answered")

    def short(self) -> str:
        """The text, with speakers where they are known, and one line on how it came about."""
        lines = [f"{segment.speaker}: {segment.text}" for segment in self.segments if segment.speaker]
        facts = f"{language_name(self.language)}, {spoken_time(self.duration)}, read by {self.checkpoint}"
        return "\n".join([*(lines or [self.text or "No speech was found."]), "", f"({facts})", *self.notes])


class Side(BaseModel):
    """What one of two checkpoints made of a clip."""

    name: str = Field(description="Base or Fine-tuned")
    checkpoint: str
    text: str
    wer: float | None = Field(description="word error rate, 0 is perfect; null without a reference")
    cer: float | None = Field(description="character error rate; null without a reference")
    errors: int | None = Field(description="substituted, deleted and inserted words; null without a reference")
    reference_words: int | None = Field(description="words of the reference; null without one")
    rtfx: float = Field(description="seconds of sound for each second of work")


class Comparison(BaseModel):
    """One clip, read by both checkpoints."""

    language: str = Field(description="ISO 639-1 code of the speech")
    reference: str | None
    verdict: str = Field(description="in a sentence")
    sides: list[Side] = Field(description="base, then fine-tuned")
    notes: list[str] = Field(description="what the reader should know before the numbers")

    def short(self) -> str:
        """Verdict, both texts and both rates."""
        return "\n".join([self.verdict, *(f"{side.name} ({side.checkpoint}){_rate(side)}: {side.text or 'no text'}"
                                          for side in self.sides), *self.notes])


class Score(BaseModel):
    """How one checkpoint did on a test set."""

    name: str = Field(description="Base or Fine-tuned")
    checkpoint: str
    wer: float = Field(description="word error rate of the pooled counts")
    wer_low: float | None = Field(description="lower end of its 95 % interval; null where the set is too small")
    wer_high: float | None = Field(description="upper end of its 95 % interval")
    cer: float = Field(description="character error rate of the pooled counts")
    errors: int
    reference_words: int
    rtfx: float = Field(description="seconds of sound for each second of work")


class ScoredClip(BaseModel):
    """A clip of the test set."""

    id: str
    reference: str
    texts: list[str] = Field(description="of base, then fine-tuned")
    wers: list[float] = Field(description="of base, then fine-tuned")


class FailedClip(BaseModel):
    """A clip that could not be scored, and counts for neither."""

    id: str
    message: str


class Evaluation(BaseModel):
    """A test set, read by both checkpoints."""

    origin: str
    language: str | None = Field(description="ISO 639-1 code of the speech")
    n_clips: int
    audio_seconds: float
    verdict: str = Field(description='"better", "worse", "no difference shown" or "too short to tell"')
    verdict_text: str = Field(description="the same in a sentence, with numbers")
    difference: float = Field(description="word error rate, fine-tuned minus base: below 0 is better")
    difference_low: float | None = Field(description="lower end of its 95 % interval")
    difference_high: float | None = Field(description="upper end of its 95 % interval")
    scores: list[Score] = Field(description="base, then fine-tuned")
    clips: list[ScoredClip] = Field(description="those with the largest difference first")
    n_clips_left_out: int = Field(description="clips that count but are not listed in `clips`")
    failed: list[FailedClip]
    notes: list[str] = Field(description="what the reader should know before the numbers")

    def short(self) -> str:
        """Verdict and both rates."""
        rates = [f"{score.name} ({score.checkpoint}): WER {100 * score.wer:.1f} % ({score.errors} of "
                 f"{score.reference_words} words)" for score in self.scores]
        failed = [f"{len(self.failed)} could not be scored."] if self.failed else []
        return "\n".join([self.verdict_text, *rates,
                          f"{self.n_clips} clips, {spoken_time(self.audio_seconds)}, of {self.origin}.", *failed,
                          *self.notes])


class Model(BaseModel):
    """A checkpoint that may be named."""

    name: str = Field(description="what `base` and `fine_tuned` of compare take; empty there means the configured one")
    role: str = Field(description='"base", "fine-tuned", or "allowed": may be loaded for a comparison')
    description: str
    languages: list[str] | None = Field(description="ISO 639-1 codes it was tuned for; null: all of Whisper's")
    task: str | None = Field(description="what it was tuned to do; null where that is known only once it is loaded")


class ModelList(BaseModel):
    """Which checkpoints answer here."""

    models: list[Model]
    any_checkpoint: bool = Field(description="whether compare may load any other Hub id or folder")
    max_seconds: float | None = Field(description="longest recording, seconds; null: any")
    max_bytes: int | None = Field(description="largest file, bytes; null: any")
    local_files: bool = Field(description="whether paths of the server's own machine are read")

    def short(self) -> str:
        """A line for each."""
        lines = [f"{model.role}: {model.description}" + (
            f", tuned for {', '.join(map(language_name, model.languages))}" if model.languages else "")
            for model in self.models]
        longest = [f"A recording may last {short_clock(self.max_seconds)} at most."] if self.max_seconds else []
        return "\n".join([*lines, *longest])


def _rate(side: Side) -> str:
    if side.wer is None:
        return ""
    return f", WER {100 * side.wer:.1f} % ({side.errors} of {side.reference_words} words)"
