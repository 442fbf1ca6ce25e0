"""Windows of speech in, segments out: what lies between the VAD and the transcript, on any engine.

Enters: `Window`s and options. Each is turned into log-mel no longer than it must be, encoded, decoded beside others of
its length, judged, tried again if it looks wrong, and put on the audio's own clock (`segments`). Knows nothing of
files, streams, progress or language detection by vote.

Short clips cost what they last where the checkpoint can be cropped (`context`). A cropped result that looks wrong is
decoded again at full context.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shared.audio.features import frames_for, pad_or_trim
from shared.audio.windows import Window
from shared.checkpoint import Facts
from shared.checkpoint.tokenizer import Piece, Tokens
from shared.engines import Bias, Decoded, Engine
from shared.engines.hotword_trie import HotwordTrie, trie_of
from shared.engines.spelling import Spelling, spelling_of
from shared.errors import Cancelled
from shared.inference import quality
from shared.inference.batches import Batches, Found, Job
from shared.inference.context import POLICIES
from shared.inference.segments import needs_words, on_audio, rest_of
from shared.inference.together import Together
from shared.inference.word_times import Row, align_words
from shared.languages import NO_SPACES
from shared.lexicon import dictionary_for
from shared.options import DICTIONARY_BEAM, Options
from shared.transcript import Segment, Word
from shared.whisper_constants import DECODER_POSITIONS, MAX_NEW_TOKENS, WINDOW_SECONDS

TOKENS_PER_SECOND = 30  # no language is spoken at more of Whisper's tokens; a runaway clip ends there
RESUME_SECONDS = 2.0  # speech left after the last timestamp for which a window is taken up again
# Where Whisper's paper samples at rising temperature, this widens the search and then forbids repeats: the same end
# (leave the loop), and the same text each time. CTranslate2's sampling repeats neither with its seed set.
RETRIES = ({"beam_size": 5}, {"beam_size": 5, "no_repeat_ngram": 3})


class WindowDecoder:
    """One engine with the vocabulary and the facts of its checkpoint. Calls may come from several threads."""

    def __init__(self, engine: Engine, tokens: Tokens, facts: Facts) -> None:
        self.engine, self.tokens, self.facts = engine, tokens, facts
        self.context = POLICIES[facts.short_context]
        self._lock = threading.Lock()
        self.together = Together()
        self.n_windows = self.n_again = 0  # how many clips were decoded, and how many of them a second time

    def recognise(self, windows: Sequence[Window], options: Options, cancel: threading.Event | None = None
                  ) -> Iterator[dict[int, list[Segment]]]:
        """Decode windows, those of like length together: yields the segments of each batch by the window's index.

        options.language must be known. What the model left unread of a window is decoded with that of others; the
        segments of such a window come when all of it has been read.
        """
        assert options.language is not None
        jobs = [Job(place, window, self, options.language) for place, window in enumerate(windows)]
        begun: dict[int, list[Segment]] = {}  # windows of which something is left
        for batch in Batches(jobs).decoded(options, cancel):
            done: dict[int, list[Segment]] = {}
            for job, segments, rest in batch:
                so_far = begun.pop(job.place, []) + segments
                (done if rest is None else begun)[job.place] = so_far
            if done:
                yield done

    def detect(self, window: Window, cancel: threading.Event | None = None, *, silence: float | None = None
               ) -> tuple[dict[str, float], Any]:
        """Probability of each language code, and the encoder's states.

        silence: seconds after the window, which are cheaper than what text needs (`context`); None for that, and
        states from which the window can be decoded.
        """
        states = self.encode([window], cancel) if silence is None else self._encode([window], [
            frames_for(window.duration + silence)], cancel)
        with self._lock:
            return self.engine.detect_language(states)[0], states

    def encode(self, windows: Sequence[Window], cancel: threading.Event | None = None, *, full: bool = False,
               room: float = WINDOW_SECONDS) -> Any:
        """Encoder states of a batch; cropped where the checkpoint allows it, unless `full`. room: seconds of silence
        after a clip that is not cropped."""
        lengths = [self.context.full_frames(window.duration, room) if full or not self.context.crops
                   else self.context.n_frames(window.duration) for window in windows]
        if not self.engine.ragged:
            lengths = [max(lengths)] * len(windows)
        return self._encode(windows, lengths, cancel)

    def _encode(self, windows: Sequence[Window], lengths: Sequence[int], cancel: threading.Event | None) -> Any:
        """lengths: log-mel frames of each."""
        states = []
        for i in range(0, len(windows), self.engine.encoder_batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            part = slice(i, i + self.engine.encoder_batch)
            mels = [pad_or_trim(self.engine.log_mel(window.samples), n_frames)
                    for window, n_frames in zip(windows[part], lengths[part], strict=True)]
            with self._lock:
                states.append(self.engine.encode(mels))
        return self.engine.join(states)

    def decode(self, states: Any, prompt: Sequence[int], seconds: float, cancel: threading.Event | None = None,
               **how: Any) -> list[Decoded]:
        """seconds: the longest clip's. how: beam_size, no_repeat_ngram, bias."""
        max_tokens = min(MAX_NEW_TOKENS, DECODER_POSITIONS - len(prompt), int(16 + TOKENS_PER_SECOND * seconds))
        with self._lock:
            return self.engine.decode(states, prompt, max_tokens=max_tokens, cancel=cancel, **how)

    def bias(self, options: Options) -> Bias:
        """The words that decoding leans towards and those it takes for right, in this vocabulary."""
        language = options.text_language
        hotwords: HotwordTrie | None = None
        spelling: Spelling | None = None
        if options.hotwords:
            hotwords = trie_of(self.tokens, options.hotwords, language not in NO_SPACES)
        if language is not None:
            dictionary = dictionary_for(options.dictionary, language, options.hotwords)
            spelling = None if dictionary is None else spelling_of(self.tokens, dictionary)
        return Bias(hotwords, spelling)

    def search(self, options: Options) -> dict[str, Any]:
        """How a window is searched at first: what `decode` takes.

        A word that is spelled right is chosen from texts beside each other, so there must be some.
        """
        bias = self.bias(options)
        return {"beam_size": options.beam_size if bias.spelling is None else max(options.beam_size, DICTIONARY_BEAM),
                "bias": bias}

    def align(self, row: Row, pieces: Sequence[Sequence[int]], window: Window, options: Options) -> list[list[Word]]:
        """Words of each piece of a row's text tokens; empty where the alignment fails."""
        with self._lock:
            return align_words(self.engine, self.tokens, row, pieces, window.duration,
                               options.text_language, window.samples)

    def decode_batch(self, batch: Sequence[Job], options: Options, cancel: threading.Event | None) -> list[Found]:
        """Segments of each job of one language, and what the model left unread of its window."""
        windows = [job.window for job in batch]
        options = replace(options, language=batch[0].language)
        states = self._states(batch, cancel)
        prompt = self.tokens.prompt(options.language, options.task, timestamps=self.facts.timestamps,
                                    initial_prompt=options.initial_prompt)
        results = self.decode(states, prompt, max(window.duration for window in windows), cancel,
                              **self.search(options))
        self.n_windows += len(batch)
        found = []
        for index, (job, decoded) in enumerate(zip(batch, results, strict=True)):
            segments, reached = self._finish(job.window, decoded, Row(states, index, prompt), options, cancel)
            # The last timestamp tells how far the model read; what it left is a window of its own.
            is_left = self.facts.timestamps and segments \
                and RESUME_SECONDS < reached < job.window.duration - RESUME_SECONDS
            found.append(Found(job, segments, rest_of(job.window, reached) if is_left else None))
        return found

    def _states(self, batch: Sequence[Job], cancel: threading.Event | None) -> Any:
        """Of the batch; only what has not been encoded yet is encoded."""
        new = [job for job in batch if job.states is None]
        if len(new) == len(batch):
            return self.encode([job.window for job in batch], cancel)
        made = self.encode([job.window for job in new], cancel) if new else None
        rows = iter([self.engine.row(made, i) for i in range(len(new))])
        return self.engine.join([next(rows) if job.states is None else job.states for job in batch])

    def _finish(self, window: Window, decoded: Decoded, row: Row, options: Options, cancel: threading.Event | None
                ) -> tuple[list[Segment], float]:
        """Try again what looks wrong, drop what is not speech, put times on what is; and the second of the window up to
        which the model read."""
        wrong = quality.looks_wrong(decoded, self.tokens.text(decoded.tokens)) \
            or self.context.is_unsure(window.duration, decoded)
        if wrong and not quality.is_silent(decoded):
            decoded, row = self._again(window, decoded, row, options, cancel)
        if quality.is_silent(decoded):
            return [], window.duration
        return self._segments(window, decoded, row, options)

    def _again(self, window: Window, decoded: Decoded, row: Row, options: Options, cancel: threading.Event | None
               ) -> tuple[Decoded, Row]:
        """The first result that does not look wrong, else the best of all, and the row it was decoded from."""
        self.n_again += 1
        ways, tries = list(RETRIES), [(decoded, self.tokens.text(decoded.tokens))]
        if self.context.is_cropped(window.duration):  # all it may have missed is context, so first the full 30 s
            states, tries = self.encode([window], cancel, full=True), []
            ways.insert(0, {"beam_size": self.search(options)["beam_size"]})
        else:
            states = self.engine.row(row.states, row.index)
        row, bias = Row(states, 0, row.prompt), self.bias(options)
        for how in ways:
            decoded = self.decode(states, row.prompt, window.duration, cancel, bias=bias, **how)[0]
            text = self.tokens.text(decoded.tokens)
            tries.append((decoded, text))
            if not quality.looks_wrong(decoded, text):
                return decoded, row
        return quality.better(tries)[0], row

    def _segments(self, window: Window, decoded: Decoded, row: Row, options: Options) -> tuple[list[Segment], float]:
        """Segments on the audio's clock, and the second of the window up to which the model read."""
        pieces = self.tokens.pieces(decoded.tokens)
        timed: list[list[Word]] = [[] for _ in pieces]
        spans = [(piece.start or 0.0, piece.end or window.duration) for piece in pieces]
        if pieces and (options.words or needs_words(window, spans)):
            timed = self._words(window, pieces, row, options)
        segments, reached = [], 0.0
        for piece, words in zip(pieces, timed, strict=True):
            begin = piece.start if piece.start is not None else reached
            end = min(piece.end if piece.end is not None else window.duration, window.duration)
            begin, reached = min(begin, end), end
            text = self.tokens.text(piece.tokens).strip()
            if text:
                segments.append(Segment(text, begin, end, tuple(words), no_speech_prob=decoded.no_speech_prob,
                                        avg_logprob=decoded.avg_logprob))
        placed = on_audio(window, segments, by_sentence=not self.facts.timestamps)
        return placed if options.words else [replace(segment, words=()) for segment in placed], reached

    def _words(self, window: Window, pieces: Sequence[Piece], row: Row, options: Options) -> list[list[Word]]:
        """The words of each piece, none beyond its end.

        What follows is another piece's, or no speech: attention gives a last word all noise and music behind it.
        """
        timed = self.align(row, [piece.tokens for piece in pieces], window, options)
        return [words if piece.end is None else
                [replace(word, end=max(word.start, min(word.end, piece.end))) for word in words]
                for piece, words in zip(pieces, timed, strict=True)]
