"""Two texts word by word as HTML, and error rates as a table: what was substituted, deleted, inserted.

Enters: `WordErrors` of `shared.wer`. Leaves: HTML. Signs and strokes say what colour says, so both work alone. Pure
functions of values; everything a visitor or a model wrote is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from shared.languages import RIGHT_TO_LEFT
from shared.wer import Aligned, Interval, WordErrors, unit

LEGEND = ('<p class="legend diff-legend"><span class="step sub"><del>right</del><ins>wrong</ins></span> another word '
          '<del class="step gone">word</del> left out <ins class="step new">word</ins> too much</p>')


def aligned_html(errors: WordErrors, language: str | None) -> str:
    """The alignment as one flowing text: the first text's words struck through where the second has others or none."""
    by_character = unit(language) == "character"
    parts = [_step(step) for step in errors.alignment]
    text = ("" if by_character else " ").join(parts) or '<span class="nothing">nothing</span>'
    return f'<p class="diff" {_language(language)}>{text}</p>'


def text_html(text: str, language: str | None) -> str:
    """A text as it was written."""
    return f'<p class="as-written" {_language(language)}>{escape(text) or "<i>nothing</i>"}</p>'


def between_legend(first: str, second: str) -> str:
    """The legend for two texts neither of which is a reference."""
    return (f'<p class="legend diff-legend"><span class="step sub"><del>{escape(first)}</del><ins>{escape(second)}'
            f'</ins></span> differ <del class="step gone">word</del> only in {escape(first)} '
            f'<ins class="step new">word</ins> only in {escape(second)}</p>')


def folded(summary: str, content: str, kind: str = "more") -> str:
    """Details that stay shut until somebody wants them. content: HTML."""
    return f'<details class="{kind}"><summary>{escape(summary)}</summary>{content}</details>'


def rates_table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of (row title, one cell for each column), all plain text."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f'<tr><th scope="row">{escape(title)}</th>'
                   + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for title, cells in rows)
    return (f'<div class="table-scroll"><table class="rates"><thead><tr><td></td>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def rate(errors: WordErrors) -> str:
    """'12.5 % (3 of 24)': the rate and the counts it is made of."""
    return f"{percent(errors.wer)} ({errors.errors} of {errors.reference_length})"


def counts(errors: WordErrors) -> str:
    return f"{errors.substitutions} substituted, {errors.deletions} deleted, {errors.insertions} inserted"


def percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def points(value: float) -> str:
    """A difference of rates, in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def interval_text(interval: Interval | None) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}" if interval else "too short to tell"


def as_dict(errors: WordErrors) -> dict:
    """For programs: counts and rate."""
    return {"errors": errors.errors, "reference_length": errors.reference_length, "hits": errors.hits,
            "substitutions": errors.substitutions, "deletions": errors.deletions, "insertions": errors.insertions,
            "rate": errors.wer}


def _step(step: Aligned) -> str:
    reference, hypothesis = escape(step.reference), escape(step.hypothesis)
    if step.kind == "hit":
        return f"<span>{reference}</span>"
    if step.kind == "substitution":
        return f'<span class="step sub" title="substituted"><del>{reference}</del><ins>{hypothesis}</ins></span>'
    if step.kind == "deletion":
        return f'<del class="step gone" title="deleted">{reference}</del>'
    return f'<ins class="step new" title="inserted">{hypothesis}</ins>'


def _language(language: str | None) -> str:
    return f'lang="{escape(language or "")}" dir="{"rtl" if language in RIGHT_TO_LEFT else "auto"}"'
