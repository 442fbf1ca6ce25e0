"""What may be typed after `transcribe`, `transcribe live` and `transcribe serve`, and what their --help says.

Enters: the words of a command line. Leaves: a request whose values are all right, or a UserError that says what is
wrong. Imports nothing heavy, so that a mistake is reported at once. Knows nothing of what is done with a request.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import shared
from shared.errors import UserError
from shared.languages import language_code
from shared.lexicon import dictionary_of, read_hotwords
from shared.options import COMPUTE_TYPES, DEVICES, ENGINES, LOOPBACK, TASKS, Options
from shared.transcript import FORMATS

HELP = """\
examples:
  transcribe talk.mp3                                   text on the screen
  transcribe interviews/ --format srt,txt --output out  every recording of a folder, two files each
  transcribe "*.mp4" --language sv --model KBLab/kb-whisper-small
  transcribe https://youtu.be/… --task translate        the sound of a video, in English
  arecord -f S16_LE -r 16000 -t wav | transcribe -      from another program
  transcribe --compare reference.txt clip.wav           base and fine-tuned checkpoint against a reference
  transcribe live                                       text while somebody speaks into the microphone
  transcribe serve                                      OpenAI's audio API for other programs
  transcribe cache                                      what is kept on this disk, and what of it may go

A run that was stopped goes on where it was: inputs whose files are there already are left alone (--overwrite to redo).
exit codes: 0 all done, 1 some inputs failed, 2 nothing was done (one line says why), 130 stopped by Ctrl-C
"""
LIVE_HELP = """\
examples:
  transcribe live                                      the default microphone, until Ctrl-C
  transcribe live --language sv --output meeting.srt
  ffmpeg -i rtsp://… -f s16le -ac 1 -ar 16000 - | transcribe live --stdin --task translate
  arecord -t raw -f S16_LE -r 16000 -c 1 | transcribe live --stdin
"""
SERVE_HELP = """\
examples:
  transcribe serve                                     http://127.0.0.1:8000/v1 for programs on this machine
  transcribe serve --host 0.0.0.0 --api-key KEY        for others on the network, with a key

Any client of OpenAI's audio API can ask it: docs/openai-api.md.
"""
DETECTED = ("auto", "detect")  # in place of a language


@dataclass(frozen=True)
class Model:
    """Which weights, on what. name: None for the configured base and fine-tuned checkpoint, chosen by language."""

    name: str | None
    engine: str
    device: str
    compute_type: str


@dataclass(frozen=True)
class FilesRequest:
    """Recordings to text. track: audio track, from 1; None for the default one. output: None beside the recordings.

    to_files: write files in these formats; else the text goes to standard output.
    """

    inputs: tuple[str, ...]
    options: Options
    model: Model
    track: int | None
    formats: tuple[str, ...]
    output: Path | None
    to_files: bool
    json: bool
    overwrite: bool
    quiet: bool


@dataclass(frozen=True)
class CompareRequest:
    """One recording by the base and the fine-tuned checkpoint (or model.name), against the text of `reference`."""

    recording: str
    reference: str
    options: Options
    model: Model
    track: int | None
    json: bool
    quiet: bool


@dataclass(frozen=True)
class LiveRequest:
    """A microphone (None: the system's) or raw sound on standard input. pause: seconds that end a passage."""

    options: Options
    model: Model
    pause: float
    stdin: bool
    microphone: str | None
    outputs: tuple[Path, ...]
    json: bool
    quiet: bool


@dataclass(frozen=True)
class ServeRequest:
    """OpenAI's audio API at this address. max_minutes, max_mb: of a recording, None for any.

    dictionary: what `dictionary_of` gives.
    """

    model: Model
    host: str
    port: int
    api_key: str | None
    max_minutes: float | None
    max_mb: float
    dictionary: tuple[str, ...]


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one line, as every other complaint is."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        near = [match for word in unknown if word.startswith("-")
                for match in difflib.get_close_matches(word.partition("=")[0], self._option_string_actions, n=1)]
        hint = f"did you mean {' '.join(near)}? " if near else ""
        raise UserError(message[:1].upper() + message[1:], hint=f"{hint}`{self.prog} --help` lists what there is")


def files_parser() -> Parser:
    """Of `transcribe`."""
    parser = Parser(prog="transcribe", description="Turn speech into text with Whisper, on this machine.", epilog=HELP,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="PATH", help="file, folder, glob, link, or - for standard input")
    parser.add_argument("--version", action="version", version=f"transcribe {shared.__version__}")
    what = _add_what(parser)
    what.add_argument("--track", type=_from_one, metavar="N",
                      help="audio track of a file that has several, from 1; by default the file's own default")
    what.add_argument("--words", action="store_true", help="times and confidence of each word; better timed subtitles")
    what.add_argument("--speakers", nargs="?", const=True, default=False, type=_from_one, metavar="N",
                      help="name who speaks; N: how many there are, found if not given")
    what.add_argument("--compare", metavar="TEXTFILE",
                      help="the reference text: print WER and CER of the base and the fine-tuned checkpoint")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--format", metavar="LIST", help=f"comma-separated: {', '.join(FORMATS)} (default txt)")
    out.add_argument("--output", type=_path, metavar="DIR", help="folder for the files; the same tree as the input's")
    out.add_argument("--json", action="store_true", help="one JSON object per input on standard output, for machines")
    out.add_argument("--overwrite", action="store_true", help="redo inputs whose files exist")
    out.add_argument("--quiet", action="store_true", help="no progress bar, no word on which checkpoint answered")
    _add_how(parser)
    return parser


def live_parser() -> Parser:
    """Of `transcribe live`."""
    parser = Parser(prog="transcribe live", description="Turn speech into text while it is spoken, on this machine.",
                    epilog=LIVE_HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_what(parser)
    source = parser.add_argument_group("what to listen to")
    source.add_argument("--stdin", action="store_true", help="raw sound on standard input: 16 kHz, mono, s16le")
    source.add_argument("--microphone", metavar="NAME", help="part of its name, or its number (default: the system's)")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--output", type=_path, action="append", default=[], metavar="FILE",
                     help=f"also into this file; its ending tells the format: {', '.join(FORMATS)}; may be repeated")
    out.add_argument("--json", action="store_true", help="one JSON object for each segment, for machines")
    out.add_argument("--quiet", action="store_true", help="no messages about what is going on")
    parser.add_argument("--pause", type=float, default=0.5, metavar="S", help="silence that ends a passage (0.5)")
    _add_how(parser)
    return parser


def serve_parser() -> Parser:
    """Of `transcribe serve`."""
    parser = Parser(prog="transcribe serve", description="Answer OpenAI's audio API with Whisper, on this machine.",
                    epilog=SERVE_HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="where to listen (127.0.0.1: this machine alone; 0.0.0.0: the network)")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="8000 by default")
    parser.add_argument("--api-key", metavar="KEY", default=os.environ.get("API_KEY") or None,
                        help="what clients must send; by default $API_KEY, or none")
    parser.add_argument("--max-minutes", type=float, metavar="N", help="longest recording; any by default")
    parser.add_argument("--max-mb", type=float, default=4000.0, metavar="N", help="largest file (4000)")
    how = parser.add_argument_group("how")
    _add_dictionary(how, os.environ.get("DICTIONARY") or None)
    _add_model(how)
    return parser


def request(arguments: Sequence[str]) -> FilesRequest | CompareRequest:
    """What `transcribe` was asked for. Raises UserError; --help and --version end the program."""
    given = files_parser().parse_args(arguments)
    formats = _formats(given.format)
    _check_is_folder(given.output)
    options, model = _options(given, words=given.words, speakers=given.speakers), _model(given)
    if given.compare is not None:
        return _compare_request(given, options, model)
    return FilesRequest(
        tuple(given.inputs), options, model, given.track, formats, given.output,
        to_files=given.output is not None or given.format is not None, json=given.json, overwrite=given.overwrite,
        quiet=given.quiet)


def live_request(arguments: Sequence[str]) -> LiveRequest:
    """What `transcribe live` was asked for. Raises UserError; --help ends the program."""
    given = live_parser().parse_args(arguments)
    for path in given.output:
        _formats(path.suffix.lstrip("."), path)
    if not 0.1 <= given.pause <= 10:
        raise UserError("The pause is out of range", got=given.pause, limit="0.1 to 10 s", hint="0.5 is the usual one")
    return LiveRequest(_options(given, words=True), _model(given), given.pause, given.stdin, given.microphone,
                       tuple(dict.fromkeys(given.output)), given.json, given.quiet)


def serve_request(arguments: Sequence[str]) -> ServeRequest:
    """What `transcribe serve` was asked for. Raises UserError; --help ends the program."""
    given = serve_parser().parse_args(arguments)
    if not 1 <= given.port <= 65535:
        raise UserError("There is no such port", got=given.port, limit="1 to 65535", hint="8000 is the usual one")
    for name in ("max_minutes", "max_mb"):
        value = getattr(given, name)
        if value is not None and not value > 0:
            raise UserError(f"--{name.replace('_', '-')} is out of range", got=value, limit="above 0",
                            hint="leave it out for the usual limit")
    if given.host not in LOOPBACK and given.api_key is None:
        raise UserError("Everybody on the network could use this server", got=f"--host {given.host} without a key",
                        hint="set --api-key or API_KEY")
    return ServeRequest(_model(given), given.host, given.port, given.api_key, given.max_minutes, given.max_mb,
                        dictionary_of(given.dictionary))


def _compare_request(given: argparse.Namespace, options: Options, model: Model) -> CompareRequest:
    useless = [f"--{name}" for name in ("words", "speakers", "format", "output", "overwrite") if getattr(given, name)]
    if useless:
        raise UserError("A comparison prints word errors and writes no files", got=" ".join(useless),
                        hint="leave that out, or leave --compare out")
    if len(given.inputs) != 1:
        raise UserError("A comparison takes one recording", got=len(given.inputs), limit=1, hint="name one file")
    return CompareRequest(given.inputs[0], given.compare, options, model, given.track, given.json, given.quiet)


def _add_what(parser: Parser) -> Any:
    what = parser.add_argument_group("what to do")
    what.add_argument("--language", metavar="NAME",
                      help="spoken language: sv, swe, sv-SE, Swedish or svenska; detected if not given")
    what.add_argument("--task", choices=TASKS, default="transcribe", help="translate: into English")
    what.add_argument("--initial-prompt", metavar="TEXT", help="names and terms that may occur, spelled as wanted")
    what.add_argument("--hotwords", metavar="WORDS", help="names and terms to lean towards, spelled as wanted: "
                      "parted by commas, or a text file with one a line; takes the engine torch")
    _add_dictionary(what)
    return what


def _add_dictionary(to: Any, default: str | None = None) -> None:
    to.add_argument("--dictionary", metavar="NAMES", default=default, help="of the words that are spelled right: a "
                    "language (ru) or a dictionary (ru_RU) that is installed for hunspell, the path of a .dic file, a "
                    "text file of words, or several with commas; takes the engine torch and a beam of 5")


def _add_how(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    _add_model(how)
    how.add_argument("--beam-size", type=int, default=1, metavar="N", help="1 (default) is fastest; 5 is slower")
    how.add_argument("--vad-onset", type=float, default=0.5, metavar="P",
                     help="speech threshold, above 0 and below 1 (0.5); lower finds quieter speech")


def _add_model(how: Any) -> None:
    how.add_argument("--model", metavar="ID", help="base or fine-tuned: exactly that one of the pair that is "
                     "configured ($BASE, $FINE_TUNED); or a Hub id (owner/name or owner/name@commit), a folder, or "
                     "embedded:whisper-base; by default $FINE_TUNED for the languages it was tuned for, else $BASE")
    how.add_argument("--engine", choices=ENGINES, default="auto", help="by default as the hardware is")
    how.add_argument("--device", choices=DEVICES, default="auto", help="by default a GPU where there is one")
    how.add_argument("--compute-type", choices=COMPUTE_TYPES, default="auto", metavar="TYPE",
                     help="int8, float16, …; by default int8 on a CPU, float16 on a GPU")


def _options(given: argparse.Namespace, words: bool, speakers: bool | int = False) -> Options:
    language = given.language
    if language is not None:
        language = None if language.strip().lower() in DETECTED else language_code(language)
    options = Options.of(speakers, language=language, task=given.task, words=words, beam_size=given.beam_size,
                         vad_onset=given.vad_onset, initial_prompt=given.initial_prompt,
                         hotwords=None if given.hotwords is None else read_hotwords(given.hotwords),
                         dictionary=given.dictionary)
    options.check()
    return options


def _model(given: argparse.Namespace) -> Model:
    if given.model is not None:
        from shared.checkpoint import Checkpoint, named

        given.model = named(given.model)
        Checkpoint.parse(given.model)
    engine = given.engine
    if engine == "auto" and any(getattr(given, name, None) is not None for name in ("hotwords", "dictionary")):
        engine = "torch"  # the one that follows them
    return Model(given.model, engine, given.device, given.compute_type)


def _formats(text: str | None, of: Path | None = None) -> tuple[str, ...]:
    names = ["txt"] if text is None else [name.lower().lstrip(".") for name in re.split(r"[,\s]+", text.strip(", "))]
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise UserError("There is no such format", got=", ".join(unknown) or "nothing" if of is None else str(of),
                        limit=", ".join(FORMATS), hint="use those")
    return tuple(dict.fromkeys(names))


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: a variable of the shell may not be set")
    return Path(text)


def _check_is_folder(output: Path | None) -> None:
    """`--output talk.srt` asks for a file; a folder of that name would be a surprise."""
    form = "" if output is None else output.suffix.lower().lstrip(".")
    if output is not None and form in FORMATS and not output.is_dir():
        folder = "" if output.parent == Path() else f" --output {output.parent}"
        raise UserError("--output names a folder, and this looks like a file", got=output,
                        hint=f"--format {form}{folder} writes a file named after each recording")


def _from_one(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a number or nothing, not {text!r}: name the recordings before it")
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"counts from 1, not from {text}")
    return int(text)
