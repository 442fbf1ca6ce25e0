"""`transcribe live`: what is said now, from a microphone or as raw sound from another program.

Enters: 16 kHz mono samples at the pace they are spoken. Leaves: on a terminal the text as it grows, what may still
change dimmed; elsewhere a line with times for every finished segment; at the end the files asked for. Ctrl-C ends it,
and what was said up to then is still written. The listening is `shared.live`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.errors import UserError
from shared.inference import Transcriber
from shared.live import LiveTranscriber, Update
from shared.options import Options
from shared.transcript import FORMATS, Segment, Transcript

BLOCK_SECONDS = 0.1
HELD_SECONDS = 30.0  # a pipe that is faster than life waits from here on
LAST_SECONDS = 0.5  # after Ctrl-C: what the other program still has in its pipe

HELP = """\
examples:
  transcribe live                                      the default microphone, until Ctrl-C
  transcribe live --language sv --output meeting.srt
  ffmpeg -i rtsp://… -f s16le -ac 1 -ar 16000 - | transcribe live --stdin --task translate
  arecord -t raw -f S16_LE -r 16000 -c 1 | transcribe live --stdin
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `live` takes beside the options that every transcription has."""
    source = parser.add_argument_group("what to listen to")
    source.add_argument("--stdin", action="store_true", help="raw sound on standard input: 16 kHz, mono, s16le")
    source.add_argument("--microphone", metavar="NAME", help="part of its name, or its number (default: the system's)")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--output", type=Path, action="append", default=[], metavar="FILE",
                     help=f"write it all at the end; the suffix tells the form: {', '.join(FORMATS)}; may be repeated")
    out.add_argument("--json", action="store_true", help="one JSON object for each segment, for machines")
    out.add_argument("--quiet", action="store_true", help="no words about what is going on")
    parser.add_argument("--pause", type=float, default=0.5, metavar="S", help="silence that ends a passage (0.5)")


def run(options: argparse.Namespace, load: Callable[[], Transcriber]) -> int:
    """Listen until the sound ends or Ctrl-C. load: opens the checkpoint. Raises UserError."""
    kinds = [path.suffix.lstrip(".") for path in options.output]
    unknown = [kind for kind in kinds if kind not in FORMATS]
    if unknown:
        raise UserError("There is no such format", got=", ".join(unknown), limit=", ".join(FORMATS), hint="use those")
    for path in options.output:
        if not path.parent.is_dir():
            raise UserError("There is no such folder", got=str(path.parent), hint="make it first")
    if options.stdin and sys.stdin.isatty():
        raise UserError("Standard input is the keyboard", hint="pipe raw sound into it, or leave --stdin out")
    opened = None if options.stdin else _microphone(options.microphone)  # before seconds go into loading
    what = Options(options.language, options.task, True, options.beam_size, options.vad_onset, options.initial_prompt)
    live = LiveTranscriber(load(), what, pause=options.pause)
    show = _as_json if options.json else _Screen().show if sys.stdout.isatty() else _as_lines
    with _stopping() as stop:
        source = _Pipe(live) if opened is None else opened(live)
        if not options.quiet:
            print("Listening. Ctrl-C ends it.", file=sys.stderr, flush=True)
        while not (stop.is_set() or source.ended.is_set()):
            update = live.process()
            show(update, False)
            if not update.more:
                stop.wait(BLOCK_SECONDS / 2)
        source.close()
    last = live.finish()
    show(last, True)
    _write(last.transcript, options.output)
    return 0


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, between two pieces of work. A second Ctrl-C stops at once."""
    stop = threading.Event()

    def heard(number: int, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Pipe:
    """Standard input, read in a thread so that nothing waits for decoding but a source faster than life."""

    def __init__(self, live: LiveTranscriber) -> None:
        self.ended = threading.Event()
        self._live, self._last = live, time.monotonic()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        odd, source = b"", sys.stdin.buffer.raw
        while data := source.read(int(BLOCK_SECONDS * SAMPLE_RATE) * 2):
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


def _microphone(name: str | None) -> Callable[[LiveTranscriber], _Microphone]:
    """A microphone that can be opened. Raises UserError where there is none, or nothing to reach one with."""
    try:
        import sounddevice
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
    def __init__(self, live: LiveTranscriber, sounddevice, device, name: str) -> None:
        self.ended = threading.Event()  # it goes on until Ctrl-C

        def heard(samples: np.ndarray, n_frames: int, when, status) -> None:
            live.insert(samples[:, 0])

        self._stream = sounddevice.InputStream(
            device=device, channels=1, samplerate=SAMPLE_RATE, dtype="float32",
            blocksize=int(BLOCK_SECONDS * SAMPLE_RATE), callback=heard, finished_callback=self.ended.set)
        self._stream.start()
        print(f"Microphone: {name}", file=sys.stderr, flush=True)

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


def _as_lines(update: Update, is_last: bool) -> None:
    for segment in update.finished:
        print(f"[{_clock(segment.start)} → {_clock(segment.end)}] {segment.text}", flush=True)


def _as_json(update: Update, is_last: bool) -> None:
    for segment in update.finished:
        print(json.dumps(_row(segment), ensure_ascii=False), flush=True)


def _row(segment: Segment) -> dict:
    words = [{"text": word.text, "start": word.start, "end": word.end, "probability": round(word.probability, 3)}
             for word in segment.words]
    return {"start": segment.start, "end": segment.end, "text": segment.text, "words": words}


def _clock(seconds: float) -> str:
    minutes, second = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{second:06.3f}"


def _write(transcript: Transcript, paths: list[Path]) -> None:
    """Each file appears whole or not at all."""
    for path in paths:
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.write_text(FORMATS[path.suffix.lstrip(".")](transcript), encoding="utf-8")
        os.replace(unfinished, path)
