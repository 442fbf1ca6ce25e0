"""What the commands of training share: a message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from shared.errors import UserError


def status(work: Callable[[], object]) -> int:
    """Print what `work` gives, if anything; exit status 1 and one line for what a person can put right."""
    try:
        said = work()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if said is not None:
        print(said)
    return 0
