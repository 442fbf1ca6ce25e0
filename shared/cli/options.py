"""What may be typed after `transcribe` and `transcribe live`, and what their --help says.

Enters: the words of a command line. Leaves: a namespace; an unknown or missing option ends the program with usage, as
argparse does. Knows nothing of what is done with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from shared.cli import live as cli_live
from shared.engines import DEFAULT_COMPUTE, ENGINES
from shared.inference import TASKS
from shared.transcript import FORMATS

HELP = """\
examples:
  transcribe talk.mp3                                   text on the screen
  transcribe interviews/ --format srt,txt --output out  every recording of a folder, two files each
  transcribe "*.mp4" --language sv --model KBLab/kb-whisper-small
  transcribe https://youtu.be/… --task translate        the sound of a video, in English
  arecord -f S16_LE -r 16000 -t wav | transcribe -      from another program
  transcribe --compare reference.txt clip.wav           base and fine-tuned against what was said
  transcribe live                                       what is said into the microphone, as it is said

A run that was stopped goes on where it was: inputs whose files are there already are left alone (--overwrite to redo).
"""


def files(arguments: Sequence[str]) -> argparse.Namespace:
    """Of `transcribe`."""
    parser = argparse.ArgumentParser(
        prog="transcribe", description="Turn speech into text with Whisper, on this machine.", epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="PATH", help="file, folder, glob, link, or - for standard input")
    say = _what_to_do(parser)
    say.add_argument("--words", action="store_true", help="times and confidence of each word; better timed subtitles")
    say.add_argument("--speakers", nargs="?", const=True, default=False, type=_count, metavar="N",
                     help="name who speaks; N: how many there are, found if not given")
    say.add_argument("--compare", metavar="TEXTFILE", help="what is said in it: print WER of base and fine-tuned")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--format", metavar="LIST", help=f"comma-separated: {', '.join(FORMATS)} (default txt)")
    out.add_argument("--output", type=Path, metavar="DIR", help="folder for the files; the same tree as the input's")
    out.add_argument("--json", action="store_true", help="one JSON object per input on standard output, for machines")
    out.add_argument("--overwrite", action="store_true", help="redo inputs whose files exist")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    _how(parser)
    return parser.parse_args(arguments)


def live(arguments: Sequence[str]) -> argparse.Namespace:
    """Of `transcribe live`."""
    parser = argparse.ArgumentParser(
        prog="transcribe live", description="Turn speech into text while it is spoken, on this machine.",
        epilog=cli_live.HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    _what_to_do(parser)
    cli_live.add_options(parser)
    _how(parser)
    return parser.parse_args(arguments)


def _what_to_do(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    say = parser.add_argument_group("what to do")
    say.add_argument("--language", metavar="CODE", help="spoken language, such as sv or hi; detected if not given")
    say.add_argument("--task", choices=TASKS, default="transcribe", help="translate: into English")
    say.add_argument("--initial-prompt", metavar="TEXT", help="names and terms that may occur, spelled as wanted")
    return say


def _how(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument("--model", metavar="ID", help="Hub id (owner/name or owner/name@commit), folder, or "
                     "embedded:whisper-base; by default $BASE, else the embedded whisper-base")
    how.add_argument("--engine", choices=ENGINES, default="auto", help="by default as the hardware is")
    how.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    how.add_argument("--compute-type", default="auto", metavar="TYPE",
                     help=f"int8, float16, …; by default {', '.join(sorted(set(DEFAULT_COMPUTE.values())))} by device")
    how.add_argument("--beam-size", type=int, default=1, metavar="N", help="1 (default) is fastest; 5 is slower")
    how.add_argument("--vad-onset", type=float, default=0.5, metavar="P", help="0 to 1; lower finds quieter speech")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a number or nothing, not {text!r}: name the recordings before it")
    return int(text)
