"""Error rates as people take them in: a large number for each, its bar, and the bar of its interval on one scale.

Enters: rates, 0 … 1 and above. Leaves: HTML, with everything escaped. Pure functions of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from shared.ui.render.alignment import percent

LEAST_SCALE = 0.10  # a bar over the whole width is at least so much, so that small rates look small


@dataclass(frozen=True)
class Score:
    """kind: "base" or "tuned", which gives the colour. low, high: the 95 % interval where there is one.

    note: a line below, plain text.
    """

    kind: str
    name: str
    rate: float
    low: float | None = None
    high: float | None = None
    note: str = ""


def scoreboard(scores: Sequence[Score], title: str) -> str:
    """The scores side by side, on one scale. title: what is measured, for one line above."""
    scale = max(LEAST_SCALE, *(max(score.rate, score.high or 0.0) for score in scores))
    each = "".join(_score(score, scale) for score in scores)
    return f'<div class="scoreboard"><p class="scores-title">{escape(title)}</p><div class="scores">{each}</div></div>'


def _score(score: Score, scale: float) -> str:
    said = f"{score.name}: {percent(score.rate)}"
    whiskers, interval = "", ""
    if score.low is not None and score.high is not None:
        interval = f"95\u00a0% interval {percent(score.low)} to {percent(score.high)}"
        whiskers = (f'<span class="score-range" style="inset-inline-start:{_share(score.low, scale)};'
                    f'inline-size:{_share(score.high - score.low, scale)}"></span>')
        said = f"{said}, {interval}"
    notes = " · ".join(filter(None, (interval, score.note)))
    note = f'<p class="score-note">{escape(notes)}</p>' if notes else ""
    number, _, sign = percent(score.rate).partition("\u00a0")
    return (f'<div class="score {score.kind}"><p class="score-name">{escape(score.name)}</p>'
            f'<p class="score-number">{number}<span>\u00a0{sign}</span></p>'
            f'<div class="score-bar" role="img" aria-label="{escape(said)}">'
            f'<span class="score-fill" style="inline-size:{_share(score.rate, scale)}"></span>{whiskers}</div>'
            f"{note}</div>")


def _share(value: float, scale: float) -> str:
    return f"{100 * min(max(value / scale, 0.0), 1.0):.1f}%"
