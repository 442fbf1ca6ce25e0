"""The one `Serving` of this process, from its environment."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable

from shared.checkpoint import configured
from shared.engines import BIASED
from shared.errors import UserError
from shared.lexicon import dictionary_of
from shared.serving.answering import Serving, ServingInBackground
from shared.serving.request import Limits

_serving: Serving | None = None
_serving_lock = threading.Lock()


def serving(limits: Limits, progress: Callable[[float, str], None] | None = None) -> Serving:
    """The process's Serving, from BASE and FINE_TUNED (`checkpoint.configured`) and DICTIONARY, made on the first call.

    Its weights come into memory later: see `ServingInBackground`.

    Args:
        limits: of the first call; later ones do not count.
        progress: called with (fraction 0 … 1, message) while downloading and converting.

    Returns:
        The same object at every call.

    Raises:
        UserError: the base checkpoint cannot be had, or DICTIONARY names none.
    """
    global _serving
    with _serving_lock:
        if _serving is None:
            dictionary = dictionary_of(os.environ.get("DICTIONARY") or None)
            made = ServingInBackground(*configured(), engine=BIASED[0] if dictionary else "auto", limits=limits,
                                       progress=progress)
            made.follow(dictionary)
            _serving = made
        return _serving


def unload_minutes() -> float:
    """After how many idle minutes weights leave memory, from UNLOAD_MINUTES.

    Returns:
        Minutes, 0 for never; 15 on one's own machine and 0 on a Space unless it is set.

    Raises:
        UserError: UNLOAD_MINUTES is no such number.
    """
    given = os.environ.get("UNLOAD_MINUTES") or ("0" if os.environ.get("SPACE_ID") else "15")
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < math.inf:
        raise UserError("UNLOAD_MINUTES is no number of minutes", got=given[:20],
                        hint="set it to 15, or to 0 for never")
    return minutes
