"""Plots of error rates as inline SVG: nothing is fetched, and light and dark follow the page.

Pure functions of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from shared.wer import Interval

Scale = Callable[[float], float]  # a value → its place in the picture
WIDTH, ROW, LEFT, RIGHT = 360, 34, 88, 26
SIDE = 300  # of the square of the scatter plot


def rates_plot(names: Sequence[str], rates: Sequence[float], intervals: Sequence[Interval | None], caption: str) -> str:
    """One row for each name: a dot at its rate (0 … 1 and above), and a line over its interval where there is one."""
    most = max([*rates, *(interval.high for interval in intervals if interval), 0.01])
    ticks = _ticks(0.0, most)
    x = _scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT)
    bottom = ROW * len(names) + 8
    parts = [_grid(x, ticks, 0, bottom, "{:.0%}")]
    for row, (name, rate, interval) in enumerate(zip(names, rates, intervals, strict=True)):
        parts.append(_mark(name, rate, interval, x, ROW * row + ROW / 2 + 4, "base" if row == 0 else "tuned"))
    return _figure("".join(parts), WIDTH, bottom + 20, caption)


def difference_plot(difference: float, interval: Interval | None, caption: str) -> str:
    """The difference of two rates on an axis with a line at no difference."""
    low, high = interval or (difference, difference)
    reach = max(abs(low), abs(high), abs(difference), 0.01)
    ticks = _ticks(-reach, reach)
    x = _scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT)
    bottom = ROW + 8
    zero = f'<line class="axis" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{bottom}"/>'
    return _figure(_grid(x, ticks, 0, bottom, "{:+.0%}") + zero
                   + _mark("Difference", difference, interval, x, ROW / 2 + 4, "tuned"), WIDTH, bottom + 20, caption)


def scatter_plot(base: Sequence[float], fine_tuned: Sequence[float], clips: Sequence[str], caption: str) -> str:
    """A dot for each clip, larger where several are: its rate with base to the right, with fine-tuned upwards."""
    top = max([1.0, *base, *fine_tuned])
    ticks = _ticks(0.0, top)
    left, foot = 44, SIDE - 34
    x, y = _scale(0.0, ticks[-1], left, SIDE - 18), _scale(0.0, ticks[-1], foot, 10)
    parts = [_grid(x, ticks, 10, foot, "{:.0%}")]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{SIDE - 18}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
                     f'<text x="{left - 5}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
    parts.append(f'<line class="axis" stroke-dasharray="4 3" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(ticks[-1]):.1f}" '
                 f'y2="{y(ticks[-1]):.1f}"/>')
    places: dict[tuple[float, float], list[str]] = {}
    for one, other, clip in zip(base, fine_tuned, clips, strict=True):
        places.setdefault((one, other), []).append(clip)
    for (one, other), here in places.items():
        named = ", ".join(here[:6]) + (" …" if len(here) > 6 else "")
        radius = 2.5 + 1.5 * len(here) ** 0.5
        parts.append(f'<circle class="dot" cx="{x(one):.1f}" cy="{y(other):.1f}" r="{radius:.1f}">'
                     f"<title>{escape(named)}: base {one:.0%}, fine-tuned {other:.0%}</title></circle>")
    parts.append(f'<text x="{(left + SIDE) / 2}" y="{SIDE - 3}" text-anchor="middle">base</text><text '
                 f'transform="translate(10 {foot / 2}) rotate(-90)" text-anchor="middle">fine-tuned</text>')
    return _figure("".join(parts), SIDE, SIDE, caption)


def _mark(name: str, value: float, interval: Interval | None, x: Scale, y: float, kind: str) -> str:
    line = ""
    if interval:
        line = (f'<line class="{kind}" stroke-width="2.5" x1="{x(interval.low):.1f}" x2="{x(interval.high):.1f}" '
                f'y1="{y}" y2="{y}"/>')
    return (f'<text x="0" y="{y + 4}">{escape(name)}</text>{line}'
            f'<circle class="{kind}" cx="{x(value):.1f}" cy="{y}" r="5"/>')


def _grid(x: Scale, ticks: Sequence[float], top: float, bottom: float, form: str) -> str:
    return "".join(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{bottom}"/><text '
                   f'x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">'
                   f'{form.format(tick) if tick else "0%"}</text>'
                   for tick in ticks)


def _figure(content: str, width: float, height: float, caption: str) -> str:
    return (f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">{content}</svg>'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round values that reach from below `low` to above `high`, in whole percents."""
    rough = (high - low) / 4
    size = max(10 ** math.floor(math.log10(rough)), 0.01)
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if size * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 6) for number in range(first, max(last, first + 1) + 1)]
