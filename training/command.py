"""What the commands of training share: `key=value` options, and a message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import yaml

from feature_pipeline.config import read
from shared.errors import UserError

T = TypeVar("T")


def options(kind: type[T], given: Sequence[str]) -> T:
    """A dataclass of options from `key=value` words. Raises UserError for a key there is not."""
    pairs = [word.partition("=") for word in given]
    return read(kind, {key: yaml.safe_load(value) for key, _, value in pairs}, "the options")


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
