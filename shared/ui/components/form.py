"""From the controls of a page to one typed request: the only place where positional values become names.

A page describes what it asks for as a frozen dataclass: its own controls as fields, and `how` for the choices that
pages share. `handler` makes of it the function that Gradio calls, whose parameters are those of the API: the same names
in the same order.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from itertools import chain
from typing import Any, Protocol, TypeVar

import gradio as gr

from shared.api import lane_for
from shared.checkpoint import Account
from shared.ui.server import jobs, messages, sign_in
from shared.ui.server.jobs import Job
from shared.ui.server.received import page_of, received

Asked = TypeVar("Asked")


class How(Protocol):
    """Choices that several pages share. VALUES: the names of its controls, in order."""

    VALUES: typing.ClassVar[tuple[str, ...]]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> How:
        """The controls' values by name, checked. Raises UserError."""


def handler(kind: type[Asked], work: Callable[[Asked, Job], list[Any]], *, files: tuple[str, ...] = (),
            lane: str | None = None, page: str | None = None) -> Callable[..., Awaitable[list[Any]]]:
    """What Gradio calls: runs `work(request, job)` as a job of the visitor's, and waits for it.

    Args:
        kind: the dataclass of the request.
        work: gives the values of the event's outputs; called in a thread of its own.
        files: names of the fields that hold uploads; see `server.received` for how long they are kept.
        lane: where it waits for its turn: one of `shared.api.AT_ONCE`; None goes by what the files are.
        page: short name of the page that can show the job again after a reload; None if none can.
    """
    async def run(*given: Any) -> list[Any]:
        *rest, bar = given
        values, request, account = _parted(rest)
        named = dict(zip(_names(kind), values, strict=True))
        paths = _paths(named, files)
        with ExitStack() as held, messages.shown():
            held.enter_context(received(paths, page_of(request)))
            waits_in = lane if lane is not None else await asyncio.to_thread(lane_for, [*chain(*paths.values())])
            asker = jobs.Asker.of(request, page, account)
            running = jobs.submit(asker, lambda running: work(_made(kind, named), running), lane=waits_in,
                                  release=held.pop_all().close)
            return await jobs.awaited(running, bar)

    return _with_signature(run, [*_parameters(kind), *_who_asks(), _parameter("bar", default=gr.Progress())])


def quick_handler(kind: type[Asked], work: Callable[[Asked, gr.Request, Account | None], Any]) -> Callable[..., Any]:
    """The same for what takes no time: no Stop button, no progress bar. `work` gets (request, Gradio's, account)."""
    def run(*given: Any) -> Any:
        values, request, account = _parted(list(given))
        with messages.shown():
            return work(_made(kind, dict(zip(_names(kind), values, strict=True))), request, account)

    return _with_signature(run, [*_parameters(kind), *_who_asks()])


def _who_asks() -> list[inspect.Parameter]:
    """What Gradio fills in by itself: the request and, where visitors may sign in, who they are on the Hub."""
    return [_parameter(name) for name in ("request", *(sign_in.PARAMETERS if sign_in.is_offered() else ()))]


def _parted(given: list[Any]) -> tuple[list[Any], gr.Request, Account | None]:
    """The controls' values, and who asks."""
    if not sign_in.is_offered():
        return given[:-1], given[-1], None
    return given[:-3], given[-3], sign_in.account_of(*given[-3:])


def _names(kind: type) -> list[str]:
    """Of the controls, in order: the request's own, then those of `how`."""
    own = [field.name for field in fields(kind) if field.name != "how"]
    shared = _how(kind)
    return [*own, *(shared.VALUES if shared else ())]


def _how(kind: type) -> type[How] | None:
    return typing.get_type_hints(kind).get("how")


def _made(kind: type[Asked], named: Mapping[str, Any]) -> Asked:
    own = {field.name: named[field.name] for field in fields(kind) if field.name != "how"}  # type: ignore[arg-type]
    shared = _how(kind)
    return kind(**own, **({"how": shared.read(named)} if shared else {}))


def _paths(named: Mapping[str, Any], files: tuple[str, ...]) -> dict[str, list[str]]:
    """The uploads by field."""
    values = {name: named[name] for name in files}
    return {name: [path for path in (value if isinstance(value, list) else [value]) if path is not None]
            for name, value in values.items()}


def _parameters(kind: type) -> list[inspect.Parameter]:
    return [_parameter(name) for name in _names(kind)]


def _parameter(name: str, **options: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, **options)


def _with_signature(run: Callable[..., Any], parameters: list[inspect.Parameter]) -> Callable[..., Any]:
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Gradio reads names from here
    run.__annotations__ = {"request": gr.Request, **(sign_in.PARAMETERS if sign_in.is_offered() else {})}
    return run
