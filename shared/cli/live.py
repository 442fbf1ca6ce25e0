"""`transcribe live`: text while somebody speaks, from a microphone or as raw sound from another program.

Enters: 16 kHz mono samples at the pace they are spoken. Leaves: on a terminal the text as it grows, what may still
change dimmed; elsewhere a line with times for every finished segment; the files asked for, which grow with the text.
Ctrl-C, SIGTERM and SIGHUP end it, and all text up to then is still written. The work is done by `shared.live`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Protocol

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.cli.answering import Answering
from shared.cli.options import LiveRequest
from shared.errors import UserError
from shared.live import LiveTranscriber, Update
from shared.system.command import DONE, SOME_FAILED, no_more_output, system_words, tell
from shared.system.files import write_bytes
from shared.transcript import Segment, Transcript, as_bytes
from shared.units import clock_time

BLOCK_SECONDS = 0.1
HELD_SECONDS = 30.0  # a pipe that is faster than speech waits from here on
LAST_SECONDS = 0.5  # after Ctrl-C: what the other program still has in its pipe
WRITING_SHARE = 0.05  # of the time, for writing files that grow


def run(request: LiveRequest) -> int:
    """Listen until the sound ends or Ctrl-C. Gives the exit code; raises UserError before anything is listened to."""
    files = _Files(request.outputs)
    if request.stdin and (sys.stdin is None or sys.stdin.isatty()):
        raise UserError("Nothing is piped into standard input", hint="pipe raw sound into it, or leave --stdin out")
    opened = None if request.stdin else _microphone(request.microphone)  # before seconds go into loading
    transcriber, choose = Answering(request.model, request.quiet).for_live(request.options)
    live = LiveTranscriber(transcriber, request.options, pause=request.pause, choose=choose)
    screen = _Output(request.json, is_needed=not request.outputs)
    with _stopping() as stop:
        source = _Pipe(live) if opened is None else opened(live)
        if not request.quiet:
            tell("Listening. Ctrl-C ends it.")
        while not (stop.is_set() or source.ended.is_set() or screen.is_useless):
            update = live.process()
            screen.show(update, False)
            files.grow(update)
            if not update.more:
                stop.wait(BLOCK_SECONDS / 2)
        source.close()
        last = live.finish()
        files.write(last.transcript)
        screen.show(last, True)
    for path, reason in files.failed.items():
        tell(f"transcribe: {path}: {reason}")
    return SOME_FAILED if files.failed or screen.is_useless else DONE


class _Files:
    """Where the text goes. A file that cannot be written is reported at once and at the end, and tried again."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises UserError if none of them can be written."""
        self.failed = {path: reason for path in paths if (reason := _unwritable(path)) is not None}
        self._paths = paths
        self._next_at = 0.0
        if paths and len(self.failed) == len(paths):
            raise UserError("The text could not be written there", got=next(iter(self.failed.values())),
                            hint="choose another file with --output")
        for path, reason in self.failed.items():
            tell(f"transcribe: {path}: {reason}. The other files are written")

    def grow(self, update: Update) -> None:
        """Write what is finished so far, as often as the time that it takes allows."""
        if update.finished and time.monotonic() >= self._next_at:
            begun = time.monotonic()
            self.write(update.transcript)
            self._next_at = time.monotonic() + (time.monotonic() - begun) / WRITING_SHARE

    def write(self, transcript: Transcript) -> None:
        """Every file, each whole or not at all."""
        for path in self._paths:
            try:
                write_bytes(path, as_bytes(transcript, path.suffix.lstrip(".").lower()))
                self.failed.pop(path, None)
            except UserError as error:
                self.failed[path] = str(error)
            except OSError as error:
                self.failed[path] = system_words(error)


def _unwritable(path: Path) -> str | None:
    """Why a file cannot be written, asked of the system; None if it can."""
    if path.is_dir():
        return f"{path} is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return system_words(error)
    return None


class _Source(Protocol):
    ended: threading.Event

    def close(self) -> None: ...


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set, between two pieces of work. A second Ctrl-C stops at once.

    A closed terminal sends SIGHUP, which `nohup` has ignored: then it stays ignored.
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers
              if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Pipe:
    """Standard input, read in a thread so that nothing waits for decoding but a source faster than speech."""

    def __init__(self, live: LiveTranscriber) -> None:
        self.ended = threading.Event()
        self._live, self._last = live, time.monotonic()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        odd = b""
        while data := os.read(sys.stdin.fileno(), int(BLOCK_SECONDS * SAMPLE_RATE) * 2):
            data = odd + data
            whole = len(data) // 2 * 2
            odd = data[whole:]
            self._live.insert(np.frombuffer(data[:whole], dtype="<i2").astype(np.float32) / 32768)
            self._last = time.monotonic()
            while self._live.waiting > HELD_SECONDS:
                time.sleep(BLOCK_SECONDS)
                self._last = time.monotonic()
        self.ended.set()

    def close(self) -> None:
        """Wait for what is on its way; a program at the other end that goes on talking is left."""
        until = time.monotonic() + 4 * LAST_SECONDS
        while not self.ended.is_set() and time.monotonic() < min(until, self._last + LAST_SECONDS):
            time.sleep(BLOCK_SECONDS / 10)


def _microphone(name: str | None) -> Callable[[LiveTranscriber], _Source]:
    """A microphone that can be opened. Raises UserError where there is none, or nothing to reach one with."""
    try:
        import sounddevice  # not a requirement: whoever wants a microphone installs it
    except ImportError:
        raise UserError("A microphone needs the package sounddevice", hint="pip install sounddevice, or pipe raw "
                        "sound into `transcribe live --stdin`") from None
    except OSError as error:  # the package is there, the library it stands on is not
        raise UserError("A microphone needs the PortAudio library", got=str(error),
                        hint="install it (on Debian: apt install libportaudio2)") from None
    device = int(name) if name is not None and name.isdigit() else name
    try:
        found = sounddevice.query_devices(device, kind="input")
        sounddevice.check_input_settings(device=device, channels=1, dtype="float32", samplerate=SAMPLE_RATE)
    except (ValueError, sounddevice.PortAudioError) as error:
        known = [one["name"] for one in sounddevice.query_devices() if one["max_input_channels"] > 0]
        raise UserError("There is no such microphone" if name else "No microphone was found", got=str(error),
                        limit=", ".join(known) or None, hint="plug one in, or name one with --microphone") from None
    return lambda live: _Microphone(live, sounddevice, device, found["name"])


class _Microphone:
    """Samples from the system's sound, handed over by PortAudio's own thread."""

    def __init__(self, live: LiveTranscriber, sounddevice: ModuleType, device: int | str | None, name: str) -> None:
        self.ended = threading.Event()  # it goes on until Ctrl-C

        def insert(samples: np.ndarray, n_frames: int, when: object, status: object) -> None:
            live.insert(samples[:, 0])

        self._stream = sounddevice.InputStream(
            device=device, channels=1, samplerate=SAMPLE_RATE, dtype="float32",
            blocksize=int(BLOCK_SECONDS * SAMPLE_RATE), callback=insert, finished_callback=self.ended.set)
        self._stream.start()
        tell(f"Microphone: {name}")

    def close(self) -> None:
        self._stream.stop()  # waits until what was recorded has been handed over
        self._stream.close()


class _Screen:
    """Committed text stays where it was written; what may still change follows it, dimmed, and is written over."""

    def __init__(self) -> None:
        self._shown = ""
        self._column = 0

    def show(self, update: Update, is_last: bool) -> None:
        text = "\n".join(segment.text for segment in update.transcript.segments)
        sys.stdout.write(self._erase() + self._added(text[len(self._shown) :]))
        self._shown = text
        room = shutil.get_terminal_size().columns - self._column - 1
        tentative = update.tentative if self._column else update.tentative.lstrip()
        if len(tentative) > room:
            tentative = tentative[: max(room - 1, 0)] + "…" if room > 0 else ""
        sys.stdout.write(f"\x1b[2m{tentative}\x1b[0m" if tentative else "")
        sys.stdout.write("\n" if is_last and self._column else "")
        sys.stdout.flush()

    def _erase(self) -> str:
        return "\r" + (f"\x1b[{self._column}C" if self._column else "") + "\x1b[K"

    def _added(self, text: str) -> str:
        """Broken between words at the screen's edge: a line that the terminal broke could not be written over."""
        width, out = shutil.get_terminal_size().columns - 1, ""
        for line_number, line in enumerate(text.split("\n")):
            if line_number:
                out, self._column = out + "\n", 0
            for n, word in enumerate(line.split(" ")):
                lead = " " if n else ""
                if self._column and self._column + len(lead + word) > width:
                    out, self._column, lead = out + "\n", 0, ""
                out += lead + word
                self._column += len(lead + word)
        return out



class _Output:
    """Standard output: the growing text on a terminal, else a line or a JSON object for every finished segment."""

    def __init__(self, as_json: bool, is_needed: bool) -> None:
        """is_needed: there is no other place that the text goes to."""
        self._show = _show_json if as_json else _Screen().show if sys.stdout.isatty() else _show_lines
        self._is_needed, self._reader_left = is_needed, False

    @property
    def is_useless(self) -> bool:
        """Nobody gets the text any more."""
        return self._reader_left and self._is_needed

    def show(self, update: Update, is_last: bool) -> None:
        """Nothing happens where the reader has left or the terminal is closed: the files are still written."""
        if self._reader_left:
            return
        try:
            self._show(update, is_last)
        except OSError:
            self._reader_left = True
            no_more_output()


def _show_lines(update: Update, is_last: bool) -> None:
    for segment in update.finished:
        print(f"[{clock_time(segment.start)} → {clock_time(segment.end)}] {segment.text}", flush=True)


def _show_json(update: Update, is_last: bool) -> None:
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    for segment in update.finished:
        print(json.dumps(_row(segment), ensure_ascii=not is_utf8), flush=True)


def _row(segment: Segment) -> dict[str, object]:
    words = [{"text": word.text, "start": word.start, "end": word.end, "probability": round(word.probability, 3)}
             for word in segment.words]
    return {"start": segment.start, "end": segment.end, "text": segment.text, "words": words}
