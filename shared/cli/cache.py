"""`transcribe cache`: what was made on this disk, how large it is, when it was last used, and what of it may go."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from shared.cli.options import Parser
from shared.errors import UserError
from shared.system.cache import Entry, cache_folder, entries, remove
from shared.system.command import DONE
from shared.units import megabytes

HELP = """\
examples:
  transcribe cache                          what is kept, oldest use first
  transcribe cache --remove                 remove what nothing makes use of any more
  transcribe cache --remove --unused 30     and what was not used for 30 days

What goes is made again when it is needed. Only what was made here is ever removed: nothing that you put there,
nothing that a running program may read, and not the Hub's own cache (`hf cache ls` lists that).
"""
DAY = 86_400


def run(arguments: Sequence[str]) -> int:
    """List, and remove where that was asked for. Gives the exit code; raises UserError."""
    given = request(arguments)
    found = sorted(entries(), key=lambda one: one.used)
    going = {one.folder: reason for one in found if (reason := _reason(one, given.unused)) is not None}
    print(f"{cache_folder()}: {len(found)} folders, {_size(found)}")
    for one in found:
        note = f"  ({going[one.folder]})" if one.folder in going else ""
        print(f"{megabytes(one.n_bytes):>10}  {time.strftime('%Y-%m-%d', time.localtime(one.used))}  "
              f"{one.folder.name}{note}")
    wanted = [one for one in found if one.folder in going]
    if not wanted:
        print("Nothing may go" if found else "Nothing is kept")
    elif given.remove:
        _remove(wanted)
    else:
        print(f"{_size(wanted)} in {len(wanted)} of them may go: add --remove")
    return DONE


def request(arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for. Raises UserError; --help ends the program."""
    given = parser().parse_args(arguments)
    if given.unused is not None and not given.unused >= 0:
        raise UserError("--unused is out of range", got=given.unused, limit="0 days or more", hint="30 is usual")
    return given


def parser() -> Parser:
    """Of `transcribe cache`."""
    found = Parser(prog="transcribe cache", epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter,
                   description="What was made on this disk: checkpoints that were merged or converted, corpora that "
                   "were unpacked.")
    found.add_argument("--remove", action="store_true", help="remove what is marked in the list")
    found.add_argument("--unused", type=float, metavar="DAYS", help="mark also what was not used for so long")
    return found


def _reason(entry: Entry, days: float | None) -> str | None:
    """Why a folder may go."""
    if entry.reason is not None or days is None:
        return entry.reason
    return f"not used for {days:g} days" if time.time() - entry.used >= days * DAY else None


def _remove(wanted: Sequence[Entry]) -> None:
    gone = []
    for one in wanted:
        stays = remove(one)
        if stays is None:
            gone.append(one)
        else:
            print(f"{one.folder.name} stays: {stays}")
    print(f"{_size(gone)} in {len(gone)} folders removed")


def _size(found: Sequence[Entry]) -> str:
    return megabytes(sum(one.n_bytes for one in found))
