"""Small charts as SVG and HTML, coloured by the page's own style so that they follow light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence

from feature_pipeline.rows import SPLITS

WIDTH, HEIGHT, FOOT = 720, 190, 34  # the drawing's own units; the page scales it


def histogram(counts: Sequence[tuple[int, str, int]], bin_width: float, unit: str) -> str:
    """Stacked columns from (bin, split, count); bin b covers b × bin_width and up."""
    if not counts:
        return ""
    last = max(number for number, _, _ in counts)
    totals = [0] * (last + 1)
    for number, _, count in counts:
        totals[number] += count
    step = WIDTH / (last + 1)
    scale = (HEIGHT - 12) / max(totals)
    heights = [0.0] * (last + 1)
    parts = []
    for split in SPLITS:
        for number, name, count in counts:
            if name != split:
                continue
            top = count * scale
            heights[number] += top
            title = f"{number * bin_width:g}–{(number + 1) * bin_width:g} {unit}: {count} {split}"
            parts.append(f'<rect class="{split}" x="{number * step + 0.5:.1f}" y="{HEIGHT - heights[number]:.1f}" '
                         f'width="{max(step - 1, 0.5):.1f}" height="{top:.1f}"><title>{title}</title></rect>')
    every = max(1, round((last + 1) / 10))
    for number in range(0, last + 1, every):
        parts.append(f'<text x="{number * step:.1f}" y="{HEIGHT + 15}">{number * bin_width:g}</text>')
    parts.append(f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>')
    parts.append(f'<text class="unit" x="{WIDTH}" y="{HEIGHT + 30}">{html.escape(unit)}; '
                 f"highest column {max(totals):,}</text>")
    return (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img" '
            f'aria-label="Histogram of {html.escape(unit)}">{"".join(parts)}</svg>')


def bars(items: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars from (name, length, label)."""
    longest = max((length for _, length, _ in items), default=1) or 1
    return '<div class="bars">' + "".join(
        f'<span class="name">{html.escape(name)}</span><span class="rail">'
        f'<i style="width:{100 * length / longest:.1f}%"></i></span><span>{html.escape(label)}</span>'
        for name, length, label in items) + "</div>"


def legend(splits: Sequence[str]) -> str:
    return '<p class="legend">' + "".join(f'<span><i class="{split}"></i>{split}</span>' for split in splits) + "</p>"
