"""The front page of the suite: what this is, the four things to do, and what the two checkpoints measured."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from html import escape

import gradio as gr

from shared.checkpoint import Measured
from shared.errors import UserError
from shared.inference import Transcriber
from shared.languages import language_name
from shared.serving import Serving
from shared.ui.components.panel import footing
from shared.ui.render.alignment import percent, points
from shared.ui.render.icons import icon
from shared.ui.render.scores import Score, scoreboard
from shared.ui.server.launch import Page
from shared.ui.server.messages import without_paths

LEAD = ("Speech to text with your own fine-tuned Whisper, and the proof that it is better: "
        "word for word, on your recordings.")
TO_DO = (
    ("microphone", "Microphone", "Speak, and read what you said; with Live, while you speak."),
    ("files", "Files", "Audio and video of any length, one or many, as text and subtitles."),
    ("links", "Links", "Paste a link to a video; only its sound is fetched."),
    ("compare", "Compare", "Base against fine-tuned, each word against the true text."),
)
WITHOUT_A_SERVER = ("browser", "Without a server", "Both checkpoints in your browser; no sound leaves your machine.")
ON_OWN_MACHINE = ('<p class="small">Without a server: <code>make deploy APPS=browser</code> makes a page that runs '
                  "both checkpoints in the visitor's browser; <code>BROWSER_PAGE</code> puts its address here.</p>")


def page(serving: Serving, others: Sequence[Page] = ()) -> None:
    """Render the page into the Blocks that is open. others: pages besides TO_DO that get a card.

    Raises UserError where BROWSER_PAGE is neither an address nor a Space.
    """
    to_do = (*TO_DO, *((other.path, other.title, other.about) for other in others))
    gr.HTML(f'<header class="hero"><h1>Whisper Spaces</h1><p>{escape(LEAD)}</p></header>{_cards(to_do, browser_page())}'
            f"{_checkpoints(serving)}", elem_id="home")
    footing(serving)


def browser_page(environment: Mapping[str, str] = os.environ) -> str | None:
    """The address of the page without a server that BROWSER_PAGE names: itself, or the id of its Space.

    Raises UserError for anything else.
    """
    named = environment.get("BROWSER_PAGE", "").strip()
    if re.fullmatch(r"[\w.-]+/[\w.-]+", named, re.ASCII):
        return f"https://huggingface.co/spaces/{named}"
    if named and not re.fullmatch(r"https?://\S+", named):
        raise UserError("BROWSER_PAGE names no page", got=named, limit="an address, or owner/name of a Space",
                        hint="make one with `make deploy APPS=browser`, or leave BROWSER_PAGE empty")
    return named or None


def _cards(to_do: Sequence[tuple[str, str, str]], without_a_server: str | None) -> str:
    """without_a_server: the address of that page, if there is one; its card opens it in a tab of its own."""
    cards = [_card(f'href="./{path}"', path, title, text) for path, title, text in to_do]
    if without_a_server is not None:
        cards.append(_card(f'href="{escape(without_a_server)}" target="_blank" rel="noopener"', *WITHOUT_A_SERVER))
    hint = "" if without_a_server is not None or os.environ.get("SPACE_ID") else ON_OWN_MACHINE
    return f'<nav aria-label="What to do"><ul class="tasks">{"".join(cards)}</ul>{hint}</nav>'


def _card(link: str, name: str, title: str, text: str) -> str:
    return f'<li><a class="task" {link}>{icon(name)}<h2>{title}</h2><p>{escape(text)}</p></a></li>'


def _checkpoints(serving: Serving) -> str:
    tuned = serving.fine_tuned
    found = tuned.measured if tuned else Measured()
    problem = f'<p class="notice" role="alert">{escape(without_paths(serving.problem))}</p>' if serving.problem else ""
    rows = _row("Base", serving.base, serving.base.measured, found.base_id)
    if tuned is not None:
        rows += _row("Fine-tuned", tuned, found, None)
    return (f'<section class="checkpoints" aria-labelledby="checkpoints"><h2 id="checkpoints">The two checkpoints</h2>'
            f'{problem}{_scores(found)}<dl>{rows}</dl></section>')


def _scores(found: Measured) -> str:
    """What the card of the fine-tuned checkpoint says of both, and the difference in a sentence."""
    pairs = [("base", "Base", found.base), ("tuned", "Fine-tuned", found.fine_tuned)]
    scores = [Score(kind, name, rate.wer, rate.low, rate.high) for kind, name, rate in pairs if rate is not None]
    if not scores:
        return ('<p class="small">The card of the fine-tuned checkpoint names no word error rate. Measure one on '
                '<a href="./compare">Compare</a>.</p>')
    where = f" of {found.data}" if found.data else ""
    clips = f"{found.n_clips} clips{where}, {found.minutes:g} minutes" if found.n_clips else f"test clips{where}"
    return f"{scoreboard(scores, f'Word error rate on {clips}, as its card says')}{_difference(found)}"


def _difference(found: Measured) -> str:
    change = found.difference
    if change is None:
        return ""
    span = "" if change.low is None or change.high is None else (
        f" (95\u00a0% interval {points(change.low)} to {points(change.high)})")
    said = {"better": f"Fine-tuning takes {percent(abs(change.wer)).replace(chr(160) + '%', ' points')} off the word "
                      f"error rate, and that is real{span}.",
            "worse": f"Fine-tuning adds {percent(abs(change.wer)).replace(chr(160) + '%', ' points')} to the word "
                     f"error rate, and that is real{span}."}
    text = said.get(found.verdict or "", f"{(found.verdict or '').capitalize()}: {points(change.wer)} points{span}.")
    return f'<p class="verdict">{escape(text)}</p>'


def _row(role: str, one: Transcriber, found: Measured, hub_id: str | None) -> str:
    """hub_id: where its card is, for one that came with this program."""
    checkpoint = one.checkpoint
    hub_id = checkpoint.model_id if checkpoint.origin == "Hub" else hub_id
    card = f' · <a href="https://huggingface.co/{escape(hub_id)}">its card</a>' if hub_id else ""
    tuned = "" if one.languages is None else f" · for {', '.join(map(language_name, one.languages))}"
    return (f"<div><dt>{role}</dt><dd><b>{escape(without_paths(checkpoint.name))}</b>"
            f"{escape(tuned)}{card}</dd></div>")
