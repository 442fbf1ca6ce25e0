"""A compared test set as HTML: the answer first, then each clip, the largest differences first; the rest is folded.

Enters: an Evaluation of two transcribers. Leaves: HTML, with everything escaped. Pure functions of values; `compare.js`
turns the order of the clips round.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from shared import charts
from shared.testset import Evaluation, ScoredClip
from shared.ui.pages.compare_clip import NAMES, rate_titles
from shared.ui.render import alignment as diff
from shared.ui.render.scores import Score, scoreboard
from shared.units import spoken_time
from shared.wer import MIN_UTTERANCES, Comparison, Interval

N_SHOWN = 200  # clips on the page; the files have them all
N_FIRST = 20  # of them in sight before somebody asks for the others


def verdict_text(evaluation: Evaluation) -> str:
    """Whether the difference is real, in one sentence."""
    compared = evaluation.comparisons[0]
    if compared.verdict == "too short to tell":
        return (f"Too short to tell: {len(evaluation.clips)} clips were read, and {MIN_UTTERANCES} are the fewest from "
                "which an interval can be had.")
    low, high = compared.low or 0.0, compared.high or 0.0
    span = (f"{diff.points(compared.difference)} points, 95\u00a0% interval {diff.points(low)} to "
            f"{diff.points(high)}")
    if compared.verdict == "no difference shown":
        return f"No difference shown: the interval holds zero ({span})."
    fewer = "fewer" if compared.verdict == "better" else "more"
    return f"The fine-tuned model makes {fewer} word errors, and that is real: {span}."


def shown(evaluation: Evaluation) -> list[ScoredClip]:
    """The clips on the page: where the fine-tuned checkpoint gains most first, where it loses most last."""
    ordered = sorted(evaluation.clips, key=_change)
    if len(ordered) <= N_SHOWN:
        return ordered
    return ordered[: N_SHOWN // 2] + ordered[-N_SHOWN // 2 :]


def html(evaluation: Evaluation, notes: list[str], sounds: Mapping[str, Path] | None = None) -> str:
    """Rates and verdict, a row for each clip, what failed; tables and plots are folded.

    sounds: a file for each clip that can be played, by the clip's id.
    """
    told = "".join(f'<p class="notice" role="status">{escape(note)}</p>' for note in notes)
    more = diff.folded("All rates and intervals", _rates(evaluation)) + diff.folded("Plots", _plots(evaluation))
    return (f'<div class="comparison">{_scores(evaluation)}<p class="verdict">{escape(verdict_text(evaluation))}</p>'
            f"{told}{_failed(evaluation)}{_clips(evaluation, sounds or {})}{more}</div>")


def _scores(evaluation: Evaluation) -> str:
    title = (f"{rate_titles(evaluation.language)[0]} on {len(evaluation.clips)} clips, "
             f"{spoken_time(evaluation.audio_seconds)}, {evaluation.origin}")
    scores = []
    for kind, name, score in zip(("base", "tuned"), NAMES, evaluation.scores, strict=True):
        errors, found = score.words.errors, score.words.interval
        low, high = found or (None, None)
        scores.append(Score(kind, name, errors.wer, low, high,
                            note=f"{errors.errors} of {errors.reference_length} wrong"))
    return scoreboard(scores, title)


def _rates(evaluation: Evaluation) -> str:
    words, characters = rate_titles(evaluation.language)
    scores = evaluation.scores
    rows = []
    for title, kind in ((words, "words"), (characters, "characters"), (f"{words}, as written", "raw_words"),
                        (f"{characters}, as written", "raw_characters")):
        each = [getattr(score, kind) for score in scores]
        rows.append((title, [diff.rate(one.errors) for one in each]))
        rows.append(("95\u00a0% interval", [diff.interval_text(one.interval) for one in each]))
    rows.append(("Counts", [diff.counts(score.words.errors) for score in scores]))
    rows.append(("Speed", [f"{evaluation.rtfx(name):.1f}× real time" for name in evaluation.names]))
    return (f'{diff.rates_table(evaluation.names, rows)}<p class="small">Rates are of pooled counts; the bootstrap '
            "draws whole clips. The first rows leave case and punctuation out; “as written” counts them.</p>")


def _plots(evaluation: Evaluation) -> str:
    scores, compared = evaluation.scores, evaluation.comparisons[0]
    rates = charts.rates(evaluation.names, [score.wer for score in scores],
                             [score.words.interval for score in scores], "Word error rate with its 95 % interval")
    difference = charts.difference(compared.difference, _interval(compared),
                                       "Fine-tuned minus base: left of the line is better")
    base, fine_tuned = ([clip.results[place].errors.words.wer for clip in evaluation.clips] for place in (0, 1))
    clips = charts.scatter(base, fine_tuned, [clip.id for clip in evaluation.clips],
                               "A dot for each clip: below the line, fine-tuned did better")
    return f'<div class="plots"><div>{rates}{difference}</div>{clips}</div>'


def _interval(compared: Comparison) -> Interval | None:
    return None if compared.low is None or compared.high is None else Interval(compared.low, compared.high)


def _failed(evaluation: Evaluation) -> str:
    if not evaluation.failed:
        return ""
    rows = "".join(f"<li><b>{escape(clip.id)}</b>: {escape(clip.message)}</li>" for clip in evaluation.failed[:N_SHOWN])
    n_failed = len(evaluation.failed)
    said = ("1 clip could not be scored and counts" if n_failed == 1 else
            f"{n_failed} clips could not be scored and count")
    return (f'<details class="notice"><summary>{said} for neither</summary>'
            f"<ul>{rows}</ul></details>")


def _change(clip: ScoredClip) -> int:
    """Errors that the fine-tuned checkpoint makes more than the base; negative where it is better."""
    base, tuned = (result.errors.words.errors for result in clip.results)
    return tuned - base


def _clips(evaluation: Evaluation, sounds: Mapping[str, Path]) -> str:
    clips = shown(evaluation)
    rows = "".join(_row(clip, evaluation.language, sounds.get(clip.id), number >= N_FIRST)
                   for number, clip in enumerate(clips))
    left = len(evaluation.clips) - len(clips)
    between = f" The {left} between them are in the files." if left else ""
    order = ('<div class="order" role="group" aria-label="Order of the clips">'
             '<button type="button" class="quiet" data-order="gain" aria-pressed="true">Gains first</button>'
             '<button type="button" class="quiet" data-order="loss" aria-pressed="false">Losses first</button></div>')
    rest = (f'<button type="button" class="quiet" data-all>Show all {len(clips)} clips</button>'
            if len(clips) > N_FIRST else "")
    return (f'<section class="clips" aria-label="Clips" data-first="{N_FIRST}"><div class="clips-head"><h2>Clip by clip'
            f"</h2>{order}</div>{diff.LEGEND}<div class=\"clips-list\">{rows}</div>{rest}"
            f'<p class="small">Sorted by how many errors the fine-tuned checkpoint makes less or more.{between}</p>'
            "</section>")


def _row(clip: ScoredClip, language: str | None, sound: Path | None, is_later: bool) -> str:
    aligned = "".join(f'<p class="label">{name}</p>{diff.aligned_html(result.errors.words, language)}'
                      for name, result in zip(NAMES, clip.results, strict=True))
    base, tuned = (result.errors.words.errors for result in clip.results)
    change = tuned - base
    said = f"{abs(change)} fewer" if change < 0 else f"{change} more" if change else "the same"
    kind = "gain" if change < 0 else "loss" if change else "even"
    player = ""
    if sound is not None:
        address = escape(f"./gradio_api/file={quote(str(sound))}")
        player = f'<audio class="clip" controls preload="none" src="{address}" aria-label="{escape(clip.id)}"></audio>'
    return (f'<details class="clip-row"{" hidden" if is_later else ""}><summary><span class="clip-id">{escape(clip.id)}'
            f'</span><span class="counts">{base} → {tuned} errors</span><span class="change {kind}">{said}</span>'
            f'</summary>{player}<p class="label">Reference</p>{diff.text_html(clip.reference, language)}{aligned}'
            "</details>")
