"""What a person may ask of a transcription, and which values are allowed. The same for Python, command line and pages.

No model is needed to say that a value is wrong; what a certain checkpoint cannot do, `Transcriber.check` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from shared.errors import UserError
from shared.lexicon import check_hotwords, dictionary_of, hotwords_of

TASKS = ("transcribe", "translate")  # translate: into English
ENGINES = ("auto", "torch", "ctranslate2")
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # names under which a server on this machine is reached
DEVICES = ("auto", "cpu", "cuda")
# Of all engines together; whether one knows it on a device, the engine says when it is opened.
COMPUTE_TYPES = ("auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16",
                 "float32")
BEAM_SIZES = range(1, 21)
MOST_SPEAKERS = 100
DICTIONARY_BEAM = 5  # the narrowest that a dictionary is followed with: words are chosen from those beside each other


class Choices(TypedDict, total=False):
    """`Options` as a caller writes them, each a keyword; what is left out has the default of `Options`."""

    language: str | None
    task: str
    words: bool
    beam_size: int
    vad_onset: float
    initial_prompt: str | None
    hotwords: str | Iterable[str] | None
    dictionary: str | Iterable[str] | None
    speakers: bool | int


@dataclass(frozen=True)
class Options:
    """How to transcribe one recording.

    Attributes:
        language: ISO 639-1 code of the speech; None to detect it.
        task: one of TASKS.
        words: with start, end and probability of each word.
        beam_size: 1 (greedy search) to 20.
        vad_onset: probability from which sound counts as speech, above 0 and below 1; lower finds quieter speech.
        initial_prompt: names and terms that may occur, spelled as wanted, as if they were the text before.
        hotwords: words and phrases that decoding leans towards, spelled as wanted; what `hotwords_of` gives.
        dictionary: files of the words that are spelled right, each for its language; what `dictionary_of` gives.
        speakers: with who says each word and segment.
        n_speakers: how many there are; None to find out.
    """

    language: str | None = None
    task: str = "transcribe"
    words: bool = False
    beam_size: int = 1
    vad_onset: float = 0.5
    initial_prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    dictionary: tuple[str, ...] = ()
    speakers: bool = False
    n_speakers: int | None = None

    @classmethod
    def of(cls, speakers: bool | int = False, hotwords: str | Iterable[str] | None = None,
           dictionary: str | Iterable[str] | None = None, **others: Any) -> Options:
        """Options from `Choices`.

        Args:
            speakers: a number says how many there are, True has that found.
            hotwords: a list, or a text in which commas or line ends part the entries; None for none.
            dictionary: names or paths, or a text in which commas part them; None for none.

        Returns:
            The options; `check` says whether their values are allowed.

        Raises:
            UserError: see `hotwords_of` and `dictionary_of`.
        """
        n_speakers = None if isinstance(speakers, bool) else speakers
        return cls(speakers=speakers is not False, n_speakers=n_speakers, hotwords=hotwords_of(hotwords),
                   dictionary=dictionary_of(dictionary), **others)

    @property
    def text_language(self) -> str | None:
        """ISO 639-1 code of the text; None while that of the speech is not known."""
        return "en" if self.task == "translate" else self.language

    @property
    def needs_hook(self) -> bool:
        """Whether decoding must be led token by token, which not every engine can be."""
        return bool(self.hotwords or self.dictionary)

    def check(self) -> None:
        """Refuse a value that no checkpoint can serve.

        Raises:
            UserError: a value is out of range; names the range.
        """
        if self.task not in TASKS:
            raise UserError("There is no such task", got=self.task, limit=", ".join(TASKS), hint="choose one")
        if self.beam_size not in BEAM_SIZES:
            raise UserError("The beam size is out of range", got=self.beam_size,
                            limit=f"{BEAM_SIZES[0]} to {BEAM_SIZES[-1]}", hint="try 1 or 5")
        if not 0 < self.vad_onset < 1:  # NaN is not either
            raise UserError("The speech threshold (vad_onset) is out of range", got=self.vad_onset,
                            limit="above 0 and below 1", hint="0.5 is the usual one; lower finds quieter speech")
        check_hotwords(self.hotwords)
        if self.n_speakers is not None and not 1 <= self.n_speakers <= MOST_SPEAKERS:
            raise UserError("The number of speakers is out of range", got=self.n_speakers,
                            limit=f"1 to {MOST_SPEAKERS}", hint="leave the number out and it is found")
