"""What a page asks the server while its visitor looks on: how a job goes, the list of results, changes of a text.

Enters: what `panel.js` sends, a dict whose `owner` is the visitor's secret. Leaves: plain values for it; text is put
into the page as text there, and what is HTML was made by `render.transcript`. Nothing here needs a turn in a queue.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from html import unescape
from typing import Any

import gradio as gr

from shared.errors import Cancelled, UserError
from shared.ui.render.transcript import transcript_html
from shared.ui.server import edits, jobs, kept, messages, results, uses
from shared.ui.server.jobs import Job
from shared.ui.server.kept import Kept
from shared.ui.server.results import Result
from shared.units import short_clock

WAIT_SECONDS = 8.0  # a question waits so long for news


async def watch(question: dict) -> dict[str, Any]:
    """How the visitor's latest job on a page stands, once there is news.

    question: {owner, page, other_than: id of a job that is known to be over, job, part, have, seen}; `have` counts the
    segments that the page shows of this job and part, `seen` is the `changed` of the last answer.
    """
    owner, page = str(question.get("owner") or ""), str(question.get("page") or "")
    until = time.monotonic() + WAIT_SECONDS
    while True:
        running = jobs.latest(owner, page) if owner else None
        if running is None or running.id == question.get("other_than"):
            return {"job": None}
        if running.over.is_set() or _news(running) != question.get("seen") or time.monotonic() > until:
            return _status(running, question)
        await asyncio.sleep(0.1)


def stop(question: dict) -> int:
    """End what the page shows. Returns how many pieces of work that was."""
    return jobs.stop_of(str(question.get("owner") or ""), str(question.get("page") or ""))


def recent(question: dict) -> list[dict[str, Any]]:
    """The visitor's results that are still here, the newest first."""
    owner = str(question.get("owner") or "")
    found = kept.recent(owner) if owner else []
    return [{"id": one.id, "kind": one.KIND, "name": one.name, "minutes": int((time.time() - one.made) / 60),
             "length": short_clock(one.duration), "text": one.text[:120]} for one in found]


def forget(question: dict) -> list[dict[str, Any]]:
    """Delete a result now. Returns the list without it."""
    with suppress(UserError):  # it is gone already
        found = kept.get(str(question.get("result")), str(question.get("owner") or ""), Kept)
        kept.forget(found)
        jobs.forget(found.id)
    return recent(question)


def change(question: dict) -> dict[str, Any]:
    """Change a result's text: {owner, result, version, action, …} as `edits.ACTIONS` take it.

    Returns {html, version, can_undo}, or {problem}; with both where the text was changed elsewhere meanwhile.
    """
    words = bool(question.get("words"))
    try:
        found = kept.get(str(question.get("result")), str(question.get("owner") or ""), Result)
    except UserError as problem:
        return {"problem": messages.without_paths(str(problem))}
    try:
        changed = _changed(found, question)
    except UserError as problem:
        return {**_shown(results.now(found), words), "problem": messages.without_paths(str(problem))}
    return _shown(changed, words)


def use(question: dict) -> dict[str, Any]:
    """Do something else with a result: {owner, result, use: a name of `uses`}.

    Returns {text, address, link} of what was done, or {problem}.
    """
    try:
        found = kept.get(str(question.get("result")), str(question.get("owner") or ""), Result)
        return asdict(uses.named(str(question.get("use"))).take(found))
    except UserError as problem:
        return {"problem": messages.without_paths(str(problem))}


def _changed(found: Result, question: dict) -> Result:
    action = str(question.get("action"))
    if action == "show":
        return found
    if action == "undo":
        return results.undo(found)
    if question.get("version") != found.version:
        raise UserError("The text was changed in another window meanwhile", hint="look at it, and change it again")
    return results.change(found, edits.apply(found.answer.transcript, action, question))


def _shown(result: Result, words: bool) -> dict[str, Any]:
    return {"html": transcript_html(result.answer.transcript, words=words), "version": result.version,
            "can_undo": results.can_undo(result)}


def _news(running: Job) -> str:
    return f"{running.n_part} {len(running.segments)} {jobs.place_of(running)} {running.fraction:.3f}"


def _status(running: Job, question: dict) -> dict[str, Any]:
    is_over = running.over.is_set()
    have = question.get("have") if (question.get("job"), question.get("part")) == (running.id, running.n_part) else 0
    segments = running.segments
    new = segments[have if isinstance(have, int) and 0 <= have <= len(segments) else 0 :]
    return {"job": running.id, "part": running.n_part, "seen": _news(running), "over": is_over,
            "text": messages.without_paths(jobs.place_of(running)), "fraction": running.fraction,
            "left": running.seconds_left, "n": len(segments),
            "segments": [{"clock": short_clock(one.start), "text": one.text} for one in new],
            "results": list(running.result_ids), "problem": _problem(running) if is_over else None}


def _problem(running: Job) -> str | None:
    problem = running.problem
    if isinstance(problem, UserError):
        return messages.without_paths(str(problem))
    if isinstance(problem, Cancelled):
        return messages.STOPPED
    if isinstance(problem, gr.Error):  # of the page itself, escaped for a toast
        return unescape(str(problem.message))
    return None if problem is None else "Something went wrong here. What to do: try again."
