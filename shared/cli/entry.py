"""`transcribe`: from the words of a command line to an exit code.

What was typed is read and checked before anything heavy is imported: help, version and mistakes are answered at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from shared.cli import options as cli_options
from shared.errors import UserError
from shared.system.command import reported

STOPPED = "stopped. What is finished is kept; the same command goes on from there"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `transcribe` and end the process with its exit code (`shared.system.command` lists them).

    Args:
        arguments: as on the command line, without the program's name; None takes the process's own.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.exit(reported("transcribe", lambda: _run(words), stopped=STOPPED))


def _run(arguments: Sequence[str]) -> int:
    _check_folder()
    if arguments[:1] == ["live"]:  # a file of this name is ./live, as with serve
        live = cli_options.live_request(arguments[1:])
        from shared.cli.live import run as run_live

        return run_live(live)
    if arguments[:1] == ["serve"]:
        serving = cli_options.serve_request(arguments[1:])
        from shared.cli.serve import run as run_serve

        return run_serve(serving)
    if arguments[:1] == ["cache"]:
        from shared.cli.cache import run as run_cache

        return run_cache(arguments[1:])
    request = cli_options.request(arguments)
    if isinstance(request, cli_options.CompareRequest):
        from shared.cli.compare import run as run_compare

        return run_compare(request)
    from shared.cli.files import run as run_files

    return run_files(request)


def _check_folder() -> None:
    """Libraries end the process where the folder that one stands in was removed. Raises UserError."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError("The folder in which this was started is gone", got=error.strerror,
                        hint="change to another folder (cd)") from None
