"""A visitor's live recording: sound in small pieces from the page, text back with each of them.

Enters: pieces of sound, numbered, over the page's own connection (`live.js` sends the next when the last has arrived,
so nothing is lost, and a slow server only makes the pieces longer). Leaves: the text committed since the page last
heard, what may still change, and at the end the transcript and the recording. Decoding runs in a thread for each
listener and never delays a piece. Whoever sends nothing for a while has left: their recording goes.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.resampling import Resampler
from shared.errors import Cancelled, UserError
from shared.inference import Transcriber
from shared.live import LiveTranscriber, Update
from shared.options import Options
from shared.serving import ON_ZERO_GPU, Answer, Serving
from shared.ui import UPLOADS
from shared.units import spoken_time

GONE_SECONDS = 30.0  # without a word from the page, the visitor has left
MOST_LISTENERS = 4  # at once; each wants up to a whole core
MOST_SECONDS = 4 * 3600.0  # where the app itself sets no limit
PIECE_BYTES = 4_000_000  # of base64: a minute at 24 kHz
SHARE = 0.7  # of the time that one listener may have the model: others wait for it as well
OFF = ("Live text is not offered here: this Space borrows its GPU for seconds at a time. Record, press Stop, and read; "
       "or run the app on your own machine.")


class Listener:
    """One live recording, from the first piece to the last."""

    def __init__(self, serving: Serving, options: Options, engine: str) -> None:
        self._serving, self._options, self._engine = serving, options, engine
        self.notice: str | None = None
        first = serving.base if options.language is None else self._chosen(options.language)
        self.live = LiveTranscriber(first, options, share=SHARE, choose=self._chosen)
        self.path = UPLOADS / secrets.token_urlsafe(16) / "live.wav"
        self.path.parent.mkdir(parents=True)
        self._file = wave.open(str(self.path), "wb")  # noqa: SIM115  it grows until the last piece
        self._file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        self._resampler: Resampler | None = None
        self._next, self._seconds, self._work = 0, 0.0, 0.0
        self._heard = threading.Lock()
        self._update: Update | None = None
        self._problem: BaseException | None = None
        self._is_whole, self._wake, self.over = threading.Event(), threading.Event(), threading.Event()
        self._gone, self._is_taken = threading.Event(), threading.Event()
        self._last_word = time.monotonic()
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def hear(self, number: int, rate: int, sound: bytes, last: bool) -> None:
        """The next piece: s16le mono at `rate` Hz. One that came already is not heard twice."""
        self._last_word = time.monotonic()
        with self._heard:
            if number != self._next or self._is_whole.is_set():
                return
            self._next += 1
            if self._resampler is None:
                self._resampler = Resampler(rate, SAMPLE_RATE)
            samples = self._resampler.push(np.frombuffer(sound, dtype="<i2").astype(np.float32) / 32768)
            if last:
                samples = np.concatenate([samples, self._resampler.finish()])
            room = int(self.limit * SAMPLE_RATE) - int(self._seconds * SAMPLE_RATE)
            samples = samples[:room]
            self._seconds += len(samples) / SAMPLE_RATE
            self._file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
            self.live.insert(samples)
            if last or len(samples) == room:
                self._file.close()
                self._is_whole.set()
        self._wake.set()

    @property
    def limit(self) -> float:
        return min(self._serving.limits.max_seconds or MOST_SECONDS, MOST_SECONDS)

    def said(self, have: int) -> dict[str, object]:
        """For the page: committed text from character `have` on, what may still change, and how things stand."""
        update = self._update
        text = "\n".join(segment.text for segment in update.transcript.segments) if update else ""
        return {"committed": text[have:], "tentative": update.tentative if update else "",
                "seconds": round(self._seconds, 1), "behind": round(self.live.waiting, 1),
                "full": self._is_whole.is_set(), "problem": self._said_problem()}

    def _said_problem(self) -> str | None:
        if self._problem is None or isinstance(self._problem, UserError):
            return self._problem and str(self._problem)
        return "Something went wrong on the server. What to do: record again, or switch Live off."

    def answer(self, cancel: threading.Event) -> Answer:
        """The whole, once the last piece is heard and read. Raises what went wrong, and Cancelled."""
        while not self.over.wait(0.1):
            if cancel.is_set():
                self.leave()
                raise Cancelled
        if self._problem is not None:
            raise self._problem
        if not self._is_whole.is_set():
            raise UserError("The connection was lost for too long", hint="record again")
        transcript = self._update.transcript
        if self._seconds >= self.limit:
            transcript = replace(transcript, warnings=(
                f"A live recording may last {spoken_time(self.limit)}; it was ended there.",))
        return Answer(transcript, self.live.transcriber.checkpoint, self.notice, self._work)

    def leave(self) -> None:
        """Nobody wants this any more."""
        self._gone.set()
        self._wake.set()

    def _chosen(self, language: str) -> Transcriber:
        """The fine-tuned checkpoint where it serves the language, as for a recording."""
        serving, tuned = self._serving, self._serving.fine_tuned
        self.notice = serving.problem
        if tuned is not None:
            self.notice = serving.refusal(tuned, replace(self._options, language=language))
        chosen = tuned if tuned is not None and self.notice is None else serving.base
        return serving.transcriber(chosen.checkpoint, self._engine)

    def _run(self) -> None:
        try:
            while not (self._is_whole.is_set() and not self.live.waiting):
                if self._gone.is_set() or time.monotonic() - self._last_word > GONE_SECONDS:
                    return
                if not self._looks(self.live.process):
                    self._wake.wait(0.1)
                    self._wake.clear()
            self._looks(self.live.finish)
        except BaseException as error:
            self._problem = error  # the page is told, and `answer` raises it
            if not isinstance(error, UserError):
                raise
        finally:
            self.over.set()
            if not self._is_taken.wait(GONE_SECONDS) and _forget(self):
                self.close()

    def _looks(self, work: Callable[[], Update]) -> bool:
        begun = time.monotonic()
        self._update = work()
        self._work += time.monotonic() - begun
        return self._update.more

    def take(self) -> None:
        """Somebody is there for the result, and will close it."""
        self._is_taken.set()

    def close(self) -> None:
        """Forget the recording."""
        self.leave()
        with self._heard:
            self._is_whole.set()
            self._file.close()
        self.path.unlink(missing_ok=True)
        if self.path.parent.exists() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


@dataclass
class _Room:
    listeners: dict[str, Listener]
    lock: threading.Lock


_room = _Room({}, threading.Lock())


def begin(serving: Serving, options: Options, engine: str) -> str:
    """A new listener's ticket. Raises UserError where live text is not offered or too many listen."""
    if ON_ZERO_GPU:
        raise UserError("Live text is not offered here", hint="switch Live off: record, press Stop, and read")
    with _room.lock:
        if len(_room.listeners) >= MOST_LISTENERS:
            raise UserError("Too many people use live text right now", limit=f"{MOST_LISTENERS} at once",
                            hint="try again in a minute, or switch Live off")
        ticket = secrets.token_urlsafe(16)
        _room.listeners[ticket] = Listener(serving, options, engine)
    return ticket


def hear(piece: dict) -> dict[str, object]:
    """What `live.js` calls: {ticket, number, rate, sound: base64 of s16le, last, have} → `Listener.said`."""
    listener = _room.listeners.get(str(piece.get("ticket")))
    if listener is None:
        return {"problem": "The recording is not known any more. What to do: record again."}
    sound, rate = str(piece.get("sound", "")), piece.get("rate")
    if len(sound) > PIECE_BYTES or not isinstance(rate, int) or not 8000 <= rate <= 192_000:
        return {"problem": "The sound cannot be read. What to do: reload the page, or switch Live off."}
    raw = base64.b64decode(sound)
    listener.hear(int(piece["number"]), rate, raw[: len(raw) // 2 * 2], bool(piece.get("last")))
    return listener.said(int(piece.get("have", 0)))


def taken(ticket: str) -> Listener:
    """The listener, which is the caller's to close now. Raises UserError for one that there is not."""
    with _room.lock:
        listener = _room.listeners.pop(ticket, None)
    if listener is None:
        raise UserError("The recording is not known any more", hint="record again")
    listener.take()
    return listener


def drop(ticket: str) -> None:
    """The page gave up. One that is not there is no matter."""
    listener = _room.listeners.get(ticket)
    if listener is not None and _forget(listener):
        listener.take()
        listener.close()


def _forget(listener: Listener) -> bool:
    """Whether it was still there to be forgotten."""
    with _room.lock:
        tickets = [ticket for ticket, one in _room.listeners.items() if one is listener]
        for ticket in tickets:
            del _room.listeners[ticket]
    return bool(tickets)
