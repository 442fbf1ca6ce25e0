"""A visitor's live recording: sound in small pieces from the page, text back with each of them.

Enters: pieces of sound, numbered, over the page's own connection (`live.js` sends the next when the last has arrived,
so nothing is lost, and a slow server only makes the pieces longer). Leaves: the text committed since the page last
asked, what may still change, and at the end the transcript and the recording. Decoding runs in a thread for each
session and never delays a piece. A page that sends nothing for a while has left: its recording is deleted.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import gradio as gr

from shared.checkpoint import Account
from shared.errors import Cancelled, UserError
from shared.inference import Transcriber
from shared.live import LiveTranscriber, Update
from shared.options import Options
from shared.serving import ON_ZERO_GPU, Answer, Request, Serving, refusal
from shared.ui.server.live_sound import LiveSound
from shared.ui.server.messages import without_paths
from shared.ui.server.visitors import address_of
from shared.units import spoken_time

GONE_SECONDS = 30.0  # without a piece from the page, the visitor has left
MAX_SESSIONS = 4  # at once; each wants up to a whole core
MAX_FOR_EACH = 2  # of them for one visitor
MOST_SECONDS = 4 * 3600.0  # of a recording, where the app itself sets no limit
PIECE_BYTES = 4_000_000  # of base64: a minute at 24 kHz
SHARE = 0.7  # of the time that one session may have the model: others wait for it as well
OFF = ("Live text is not offered here: this Space borrows its GPU for seconds at a time. Record, press Stop, and read; "
       "or run the app on your own machine.")


class LiveSession:
    """One live recording, from the first piece to the last."""

    def __init__(self, serving: Serving, options: Options, engine: str, checkpoint: str | None = None,
                 account: Account | None = None) -> None:
        """Start decoding in a thread of its own. Raises UserError for what the checkpoint cannot do."""
        self._serving, self._options, self._engine, self._checkpoint = serving, options, engine, checkpoint
        self._account = account
        self._notice: str | None = None
        is_open = options.language is None and checkpoint is None
        first = serving.base if is_open else self._choose(options.language or "")
        self._live = LiveTranscriber(first, options, share=SHARE, choose=self._choose)
        self.sound = LiveSound(min(serving.limits.max_seconds or MOST_SECONDS, MOST_SECONDS))
        self._state = threading.Condition()  # guards the next six
        self._update: Update | None = None
        self._problem: BaseException | None = None
        self._is_over = self._is_left = self._is_awaited = False
        self._last_piece = time.monotonic()
        self._work_seconds = 0.0
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def receive(self, number: int, rate: int, sound: bytes, last: bool) -> None:
        """The next piece: s16le mono at `rate` Hz. One that came already is not taken twice."""
        with self._state:  # one piece after the other, into the file and into the decoder
            self._last_piece = time.monotonic()
            samples = self.sound.add(number, rate, sound, last)
            if samples is not None:
                self._live.insert(samples)
            self._state.notify_all()

    def status(self, n_known: int) -> dict[str, object]:
        """For the page: committed text from character `n_known` on, what may still change, and how things stand."""
        with self._state:
            update, problem = self._update, self._problem
        text = "\n".join(segment.text for segment in update.transcript.segments) if update else ""
        return {"committed": text[n_known:], "tentative": update.tentative if update else "",
                "seconds": round(self.sound.seconds, 1), "behind": round(self._live.waiting, 1),
                "full": self.sound.is_whole, "problem": _in_words(problem)}

    def answer(self, cancel: threading.Event) -> Answer:
        """The whole, once the last piece has come and is decoded. Raises what went wrong, and Cancelled."""
        with self._state:
            self._is_awaited = True
            while not self._is_over:
                if cancel.is_set():
                    self._is_left = True
                    raise Cancelled
                self._state.wait(0.1)
            update, problem = self._update, self._problem
        if problem is not None:
            raise problem
        if not self.sound.is_whole or update is None:
            raise UserError("The connection was lost for too long", hint="record again")
        transcript = update.transcript
        if self.sound.is_full:
            transcript = replace(transcript, warnings=(
                f"A live recording may last {spoken_time(self.sound.limit)}; it was ended there.",))
        return Answer(transcript, self._live.transcriber.checkpoint, self._notice, self._work_seconds)

    @property
    def request(self) -> Request:
        """The whole recording, to be read again; it must be whole."""
        return Request(str(self.sound.path), self._options, self._engine, checkpoint=self._checkpoint,
                       account=self._account)

    def close(self) -> None:
        """End decoding and delete the recording, unless it is kept for its visitor."""
        with self._state:
            self._is_left = True
            self._state.notify_all()
            self.sound.close()

    def is_abandoned(self) -> bool:
        """Whether the page has sent nothing for so long that nobody will ask for the result."""
        return not self._is_awaited and time.monotonic() - self._last_piece > GONE_SECONDS

    def _choose(self, language: str) -> Transcriber:
        """The fine-tuned checkpoint where it serves the language, or the one that was asked for, as for a recording."""
        if self._checkpoint is not None:
            named = self._serving.named(self._checkpoint, self._account)
            return self._serving.transcriber(named, self._engine, self._account)
        serving, tuned = self._serving, self._serving.fine_tuned
        self._notice = serving.problem
        if tuned is not None:
            self._notice = refusal(tuned, replace(self._options, language=language))
        chosen = tuned if tuned is not None and self._notice is None else serving.base
        return serving.transcriber(chosen.checkpoint, self._engine)

    def _run(self) -> None:
        with self._serving.in_use():
            self._run_to_the_end()

    def _run_to_the_end(self) -> None:
        try:
            while not (self.sound.is_whole and not self._live.waiting):
                if self._is_left or self.is_abandoned():
                    return
                if not self._decode(self._live.process):
                    with self._state:
                        self._state.wait(0.1)
            self._decode(self._live.finish)
        except BaseException as error:
            self._problem = error  # the page is told, and `answer` raises it
            if not isinstance(error, UserError):
                raise
        finally:
            with self._state:
                self._is_over = True
                self._state.notify_all()

    def _decode(self, step: Callable[[], Update]) -> bool:
        """Whether there is more to do at once."""
        begun = time.monotonic()
        update = step()
        with self._state:
            self._update = update
            self._work_seconds += time.monotonic() - begun
        return update.more


@dataclass
class _Place:
    """session: None while it is being made. visitor: an address. page: Gradio's session."""

    session: LiveSession | None
    visitor: str
    page: str | None


class LiveSessions:
    """The live recordings of this process, by ticket."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()  # held for moments only
        self._sweeper: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._places)

    def begin(self, serving: Serving, options: Options, engine: str, request: gr.Request | None = None,
              checkpoint: str | None = None, account: Account | None = None) -> str:
        """A new session's ticket. Raises UserError where live text is not offered or all places are taken."""
        if ON_ZERO_GPU:
            raise UserError("Live text is not offered here", hint="switch Live off: record, press Stop, and read")
        ticket = secrets.token_urlsafe(16)
        self._take_place(ticket, _Place(None, _address(request), request.session_hash if request else None))
        try:
            session = LiveSession(serving, options, engine, checkpoint, account)  # may load one, so nobody waits for it
        except BaseException:
            self._pop(ticket)
            raise
        with self._lock:
            place = self._places.get(ticket)
            if place is not None:
                place.session = session
        if place is None:  # the page was closed meanwhile
            session.close()
        return ticket

    def get(self, ticket: str) -> LiveSession | None:
        place = self._places.get(ticket)
        return place.session if place else None

    @contextmanager
    def finishing(self, ticket: str) -> Iterator[LiveSession]:
        """The session, which gives its place back at once and is closed with the block. Raises UserError."""
        session = self._pop(ticket)
        if session is None:
            raise UserError("The recording is not known any more", hint="record again")
        try:
            yield session
        finally:
            session.close()

    def drop(self, ticket: str) -> None:
        """The page gave up. A ticket that is not known is no matter."""
        session = self._pop(ticket)
        if session is not None:
            session.close()

    def drop_all_of(self, page: str | None) -> None:
        """The page was closed."""
        for ticket in [ticket for ticket, place in list(self._places.items()) if page and place.page == page]:
            self.drop(ticket)

    def _take_place(self, ticket: str, place: _Place) -> None:
        with self._lock:
            if len(self._places) >= MAX_SESSIONS:
                raise UserError("Too many people use live text right now", limit=f"{MAX_SESSIONS} at once",
                                hint="try again in a minute, or switch Live off")
            if sum(one.visitor == place.visitor for one in self._places.values()) >= MAX_FOR_EACH:
                raise UserError("You use live text already", limit=f"{MAX_FOR_EACH} recordings at once",
                                hint="end one of them, or switch Live off")
            self._places[ticket] = place
            if self._sweeper is None or not self._sweeper.is_alive():
                self._sweeper = threading.Thread(target=self._drop_abandoned, name="live sessions", daemon=True)
                self._sweeper.start()

    def _pop(self, ticket: str) -> LiveSession | None:
        with self._lock:
            place = self._places.pop(ticket, None)
        return place.session if place else None

    def _drop_abandoned(self) -> None:
        """Runs while there are sessions."""
        while True:
            with self._lock:
                if not self._places:
                    self._sweeper = None
                    return
                gone = [ticket for ticket, place in self._places.items()
                        if place.session is not None and place.session.is_abandoned()]
            for ticket in gone:
                self.drop(ticket)
            time.sleep(0.5)


sessions = LiveSessions()


def receive(piece: dict) -> dict[str, object]:
    """What `live.js` calls: {ticket, number, rate, sound: base64 of s16le, last, have} → `LiveSession.status`."""
    session = sessions.get(str(piece.get("ticket")))
    if session is None:
        return {"problem": "The recording is not known any more. What to do: record again."}
    sound, rate = str(piece.get("sound", "")), piece.get("rate")
    if len(sound) > PIECE_BYTES or not isinstance(rate, int) or not 8000 <= rate <= 192_000:
        return {"problem": "The sound cannot be read. What to do: reload the page, or switch Live off."}
    raw = base64.b64decode(sound)
    session.receive(int(piece["number"]), rate, raw[: len(raw) // 2 * 2], bool(piece.get("last")))
    return session.status(int(piece.get("have", 0)))


def _address(request: gr.Request | None) -> str:
    if request is None or request.client is None:
        return secrets.token_hex(8)  # a call in this process stands alone
    return address_of(request.client.host, request.headers)


def _in_words(problem: BaseException | None) -> str | None:
    if problem is None:
        return None
    if isinstance(problem, UserError):
        return without_paths(str(problem))
    return "Something went wrong on the server. What to do: record again, or switch Live off."
