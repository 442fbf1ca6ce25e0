"""What the page "Train" shows of recordings and of the work, as HTML with everything escaped. Values in, text out."""

from __future__ import annotations

import json
from html import escape
from typing import Any
from urllib.parse import quote

from shared.ui.render.scores import Score, scoreboard
from shared.units import spoken_time
from training.config import PICTURE
from training.studio.corpus import Sentence
from training.studio.runner import STAGES, Plan, Status

MIN_RECORDED = 6  # for the three splits; hundreds are wanted
N_LINES = 8  # of what the commands print
STYLE = """<style>
.studio-sentence { font-size: 1.5rem; line-height: 1.4; padding: 1rem 0; }
.studio-status progress { inline-size: 100%; block-size: 1rem; accent-color: var(--color-accent); }
.studio-status pre { white-space: pre-wrap; font-size: .85rem; }
.studio-status img { inline-size: 100%; background: #fff; }
</style>"""


def sentence(one: Sentence, n_all: int, language: str) -> str:
    state = f"recorded, {one.seconds:.1f} s" if one.seconds is not None else "not recorded yet"
    return (f'<p class="small">Sentence {one.number} of {n_all}: {state}</p>'
            f'<p class="studio-sentence" lang="{escape(language)}">{escape(one.text)}</p>')


def n_recorded(found: list[Sentence]) -> int:
    return sum(one.seconds is not None for one in found)


def overview(found: list[Sentence]) -> str:
    recorded = [one.seconds for one in found if one.seconds is not None]
    note = ("" if len(recorded) >= MIN_RECORDED else
            f" At least {MIN_RECORDED} are needed to train and test; hundreds are wanted for a real gain.")
    return (f'<p role="status"><b>{len(recorded)} of {len(found)}</b> recorded, {spoken_time(sum(recorded))}.'
            f"{note}</p>")


def status_html(status: Status, plan: Plan | None) -> str:
    if plan is None or status.state == "idle":
        return '<p class="empty">Progress, curves and the result appear here.</p>'
    parts = [f"<p><b>{escape(plan.name)}</b>: {escape(_in_words(status))}</p>"]
    if status.state == "running":
        value = "" if status.fraction is None else f' value="{status.fraction:.3f}"'
        parts.append(f'<progress max="1"{value} aria-label="{escape(status.stage)}"></progress>')
    if status.state == "failed":
        parts.append(f'<p class="notice" role="alert">{escape(status.problem)}</p>')
    if status.state == "done":
        parts.append(_result(plan))
    picture = plan.run / PICTURE
    if picture.is_file():
        parts.append(f'<img alt="Loss and word error rate over the steps" src="data:image/svg+xml,'
                     f'{quote(picture.read_text(encoding="utf-8"))}">')
    if status.lines:
        log = "\n".join(status.lines[-N_LINES:])
        parts.append(f"<details><summary>What the commands print</summary><pre>{escape(log)}</pre></details>")
    return "".join(parts)


def _in_words(status: Status) -> str:
    since = spoken_time(status.seconds)
    if status.state == "running":
        part = f", {status.fraction:.0%}" if status.fraction is not None else ""
        return f"{status.stage}{part} (step {STAGES.index(status.stage) + 1} of {len(STAGES)}, {since})"
    return {"stopped": f"stopped while: {status.stage}. Start goes on from there.", "failed": f"{status.stage} failed.",
            "done": f"done in {since}."}[status.state]


def _result(plan: Plan) -> str:
    """The scores of the test sentences, what they prove, and the way to the compare page."""
    scores = json.loads((plan.run / "evaluation" / "scores.json").read_text(encoding="utf-8"))
    shown = [_score(kind, title, scores["systems"][name])
             for kind, title, name in (("base", "Base", "base"), ("tuned", "Fine-tuned", "fine-tuned"))]
    verdict = next((f"{one['verdict'].capitalize()}." for one in scores["differences"].values()), "")
    address = f"./compare?fine_tuned={quote(str(plan.model))}"
    return (f"{scoreboard(shown, 'Word error rate on the sentences kept for the test')}<p>{escape(verdict)}</p>"
            f'<p><a id="train-compare" href="{escape(address)}">Open it on Compare</a></p>'
            f'<p class="small">The checkpoint: <code>{escape(str(plan.model))}</code></p>')


def _score(kind: str, title: str, found: dict[str, Any]) -> Score:
    """found: percentages, as training.evaluation writes them."""
    low, high = (None if found[key] is None else found[key] / 100 for key in ("wer_low", "wer_high"))
    return Score(kind, title, found["wer"] / 100, low, high)
