"""`transcribe`: files, folders, globs, links and standard input to text, on the command line.

Enters: what a person types. Leaves: one file per input and format, or text on standard output; exit status 1 if any
input failed, with the reasons at the end. Everything else is `shared.inference`.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from shared.audio import probe
from shared.checkpoint import Checkpoint, configured
from shared.cli import live as cli_live
from shared.cli import options as cli_options
from shared.errors import UserError
from shared.inference import Transcriber
from shared.languages import LANGUAGES
from shared.transcript import FORMATS, Transcript

MEDIA = {
    ".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".webm", ".mp4", ".m4v", ".mov", ".mkv", ".avi",
    ".g722", ".gsm", ".amr", ".aiff", ".aif", ".au", ".wma", ".wmv", ".mpg", ".mpeg", ".3gp", ".caf", ".wv",
}
LINK_MAX_SECONDS, LINK_MAX_BYTES = 6 * 3600, 2_000_000_000


@dataclass(frozen=True)
class Input:
    """shown: as the person named it. path: None for a link or standard input. stem: of the files to write."""

    shown: str
    path: Path | None
    folder: Path
    stem: str


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    is_live = arguments[:1] == ["live"]  # a file of this name is ./live
    options = cli_options.live(arguments[1:]) if is_live else cli_options.files(arguments)
    try:
        status = _live(options) if is_live else _run(options)
    except UserError as error:
        print(f"transcribe: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("\ntranscribe: stopped. What is finished is kept; the same command goes on from there.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _language(text: str) -> str:
    """A code or an English name."""
    names = {name.lower(): code for code, name in LANGUAGES.items()}
    code = text.lower() if text.lower() in LANGUAGES else names.get(text.lower())
    if code is None:
        raise UserError("There is no such language", got=text, hint="use a code such as en, sv, hi")
    return code


def _run(options: argparse.Namespace) -> int:
    options.language = options.language and _language(options.language)
    formats = (options.format or "txt").split(",")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UserError("There is no such format", got=", ".join(unknown), limit=", ".join(FORMATS), hint="use those")
    if options.compare:
        return _compare(options)
    found = list(_inputs(options.inputs, options.output or Path()))
    to_files = options.output is not None or options.format is not None
    todo = [one for one in found if options.overwrite or not to_files or not _done(one, formats)]
    if len(todo) < len(found):
        print(f"{len(found) - len(todo)} of {len(found)} were finished before and are left alone", file=sys.stderr)
    if not todo:
        return 0
    transcriber = _loaded(options)
    failed: list[tuple[str, str]] = []
    for number, one in enumerate(todo, 1):
        try:
            lead = f"[{number}/{len(todo)}] " if len(todo) > 1 else ""
            transcript, seconds = _heard(transcriber, one, options, lead)
        except UserError as error:
            failed.append((one.shown, str(error)))
            if options.json:
                print(json.dumps({"input": one.shown, "error": str(error)}, ensure_ascii=False), flush=True)
            continue
        for warning in transcript.warnings:
            print(f"{one.shown}: {warning}", file=sys.stderr)
        if to_files:
            _write(one, transcript, formats)
        if options.json:
            print(json.dumps({"input": one.shown, "seconds_of_work": round(seconds, 3), **transcript.to_dict()},
                             ensure_ascii=False), flush=True)
        elif not to_files:
            print((f"{one.shown}:\n" if len(todo) > 1 else "") + FORMATS["txt"](transcript), end="", flush=True)
    for shown, reason in failed:
        print(f"transcribe: {shown}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _live(options: argparse.Namespace) -> int:
    options.language = options.language and _language(options.language)
    return cli_live.run(options, lambda: _loaded(options))


def _loaded(options: argparse.Namespace, name: str | None = None) -> Transcriber:
    return Transcriber(Checkpoint.parse(name or options.model or configured()[0]), engine=options.engine,
                       device=options.device, compute_type=options.compute_type,
                       progress=None if options.quiet else _loading)


def _heard(transcriber, one: Input, options: argparse.Namespace, lead: str) -> tuple[Transcript, float]:
    """The transcript of one input, with a bar that knows the total."""
    with ExitStack() as stack:
        source = one.path or _fetched(one, stack, options)
        source = probe(source)
        length = source.duration
        bar = stack.enter_context(tqdm(desc=f"{lead}{one.shown}"[-40:], unit=" windows", disable=options.quiet or None,
                                       leave=False, file=sys.stderr))

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        begun = time.monotonic()
        transcript = transcriber.transcribe(
            source, language=options.language, task=options.task, words=options.words,
            speakers=options.speakers, beam_size=options.beam_size,
            vad_onset=options.vad_onset, initial_prompt=options.initial_prompt, progress=progress)
        seconds = time.monotonic() - begun
    if not options.quiet and length and sys.stderr.isatty():
        print(f"{lead}{one.shown}: {transcript.duration / seconds:.1f} × real time", file=sys.stderr)
    return transcript, seconds


def _fetched(one: Input, stack: ExitStack, options: argparse.Namespace) -> Path:
    """A link's or standard input's sound as a file that goes when the stack closes."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="transcribe-")))
    if one.shown == "-":
        path = folder / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return path
    from shared.link import download

    with tqdm(desc=one.shown[-40:], unit=" %", total=100, disable=options.quiet or None, leave=False) as bar:
        return download(one.shown, folder, max_seconds=LINK_MAX_SECONDS, max_bytes=LINK_MAX_BYTES,
                        progress=lambda part, text: bar.update((part or 0) * 100 - bar.n))


def _inputs(named: Sequence[str], output: Path) -> Iterator[Input]:
    """Every recording meant, in order, each once. Raises UserError for a path that is not there."""
    seen: set[Path] = set()
    for name in named:
        if name == "-":
            yield Input("-", None, output, "stdin")
        elif name.startswith(("http://", "https://")):
            yield Input(name, None, output, "".join(c if c.isalnum() else "-" for c in name.split("//", 1)[1])[:80])
        else:
            path = Path(name)
            matches = [path] if path.exists() else [Path(match) for match in sorted(glob.glob(name, recursive=True))]
            if not matches:
                raise UserError("There is no such file or folder", got=name, hint="check the path")
            for root in matches:
                for file in _recordings(root):
                    if file.resolve() not in seen:
                        seen.add(file.resolve())
                        below = file.parent.relative_to(root) if root.is_dir() else Path()
                        yield Input(str(file), file, (output / below) if output != Path() else file.parent, file.name)


def _recordings(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in MEDIA)


def _target(one: Input, name: str) -> Path:
    """talk.mp3 and talk.wav side by side must not write one file: the whole name stays, as talk.mp3.txt."""
    return one.folder / f"{one.stem}.{name}"


def _done(one: Input, formats: Sequence[str]) -> bool:
    return one.path is not None and all(_target(one, name).is_file() for name in formats)


def _write(one: Input, transcript: Transcript, formats: Sequence[str]) -> None:
    """Each file appears whole or not at all, so a stopped run never leaves half of one."""
    one.folder.mkdir(parents=True, exist_ok=True)
    for name in formats:
        target = _target(one, name)
        unfinished = target.with_name(f".{target.name}.unfinished")
        unfinished.write_text(FORMATS[name](transcript), encoding="utf-8")
        os.replace(unfinished, target)


def _compare(options: argparse.Namespace) -> int:
    """Base and fine-tuned against a reference: WER, CER and what each took."""
    from shared.wer import character_errors, word_errors

    path = Path(options.compare)
    if not path.is_file():
        raise UserError("There is no such reference", got=options.compare, hint="give a text file with what is said")
    reference = path.read_text(encoding="utf-8-sig").strip()
    if len(options.inputs) != 1:
        raise UserError("A comparison takes one recording", got=len(options.inputs), limit=1, hint="name one file")
    base, tuned = configured()
    rows = []
    for side, name in (("base", base), ("fine-tuned", options.model or tuned)):
        transcriber = _loaded(options, name)
        begun = time.monotonic()
        transcript = transcriber.transcribe(options.inputs[0], language=options.language, beam_size=options.beam_size,
                                            vad_onset=options.vad_onset, initial_prompt=options.initial_prompt)
        seconds = time.monotonic() - begun
        words = word_errors(reference, transcript.text, transcript.language)
        rows.append({"side": side, "checkpoint": str(transcriber.checkpoint), "text": transcript.text, "wer": words.wer,
                     "cer": character_errors(reference, transcript.text, transcript.language).wer,
                     "substitutions": words.substitutions, "deletions": words.deletions, "insertions": words.insertions,
                     "reference_words": words.reference_length, "rtfx": transcript.duration / seconds})
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    for row in rows:
        print(f"{row['side']} ({row['checkpoint']}): WER {row['wer']:.1%} ({row['substitutions']} substituted, "
              f"{row['deletions']} deleted, {row['insertions']} inserted of {row['reference_words']} words), "
              f"CER {row['cer']:.1%}, {row['rtfx']:.1f} × real time\n  {row['text']}")
    print("One recording is too little to tell which is better: score a test set on the compare page.")
    return 0


def _loading(fraction: float, text: str) -> None:
    print(f"\r{text} {fraction:.0%}".ljust(79), end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)

