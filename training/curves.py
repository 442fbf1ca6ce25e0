"""A run's history as one SVG picture: loss, WER and learning rate over its steps.

Enters: Trainer's log history. Leaves: SVG text that needs nothing else. Knows nothing of training.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

WIDTH, HEIGHT, GAP, LEFT = 720, 150, 46, 60
COLOURS = ("#3569b2", "#c8553d")
PANELS = (  # title, (key, name) of each line
    ("loss", (("loss", "train"), ("eval_loss", "validation"))),
    ("WER of the validation split, %", (("eval_wer", "validation"),)),
    ("learning rate", (("learning_rate", "train"),)),
)
STYLE = ("text{font:13px system-ui,sans-serif;fill:#555}.t{font-weight:600;fill:#222}line{stroke:#bbb}"
         "@media(prefers-color-scheme:dark){text,.t{fill:#ccc}line{stroke:#555}}")


def curves(history: Sequence[dict]) -> str:
    """history: entries with 'step' and any of the keys in PANELS; a panel without two points is left out."""
    last = max((entry["step"] for entry in history), default=0)
    panels, top = [], 20
    for title, lines in PANELS:
        found = []
        for key, name in lines:
            points = [(entry["step"], float(entry[key])) for entry in history if key in entry]
            found += [(name, points)] if len(points) > 1 else []
        if found:
            panels.append(_panel(title, found, last, top))
            top += HEIGHT + GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 10} {top}" role="img" '
            f'aria-label="Training curves"><style>{STYLE}</style>{"".join(panels)}</svg>\n')


def _panel(title: str, lines: list[tuple[str, list[tuple[int, float]]]], last: int, top: int) -> str:
    values = [value for _, points in lines for _, value in points]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    parts = [f'<text class="t" x="{LEFT}" y="{top - 6}">{html.escape(title)}</text>']
    for share in (0.0, 1.0):
        y = top + HEIGHT * (1 - share)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{low + share * span:.3g}</text>')
    for (name, points), colour in zip(lines, COLOURS, strict=False):
        path = " ".join(f"{LEFT + WIDTH * step / last:.1f},{top + HEIGHT * (1 - (value - low) / span):.1f}"
                        for step, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{name}</title>'
                     "</polyline>")
    names = ", ".join(f"{name}: {'blue' if n == 0 else 'red'}" for n, (name, _) in enumerate(lines))
    parts.append(f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 16}" text-anchor="end">{last} steps; {names}</text>')
    return "".join(parts)
