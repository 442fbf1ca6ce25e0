"""What else can be done with a transcript: offered by a page that knows how, as a button in every result panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import UserError
from shared.ui.server.results import Result


@dataclass(frozen=True)
class Done:
    """text: what was done, in a sentence. address, link: of the page that has it now, and the words that lead there."""

    text: str
    address: str
    link: str


@dataclass(frozen=True)
class Use:
    """label: on the button. take: does it; raises UserError."""

    name: str
    label: str
    take: Callable[[Result], Done]


_offered: dict[str, Use] = {}


def offer(use: Use) -> None:
    """From now on each result panel has its button."""
    _offered[use.name] = use


def withdraw(name: str) -> None:
    """It is offered no longer."""
    _offered.pop(name, None)


def offered() -> list[Use]:
    return list(_offered.values())


def named(name: str) -> Use:
    """Raises UserError for one that is not offered."""
    if name not in _offered:
        raise UserError("This is not offered here", got=name[:40], hint="reload the page")
    return _offered[name]
