"""Small charts as SVG that needs nothing else. Pure functions of numbers.

In a page the page's own style colours them, by the classes of their shapes; `picture(…, style=ALONE)` makes a file that
follows light and dark by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

Range = tuple[float, float]
Points = Sequence[tuple[float, float]]
Scale = Callable[[float], float]  # a value → its place in the picture

ALONE = ("text{font:12px system-ui,sans-serif;fill:#555}.title{font-weight:600;font-size:13px;fill:#222}"
         ".ours{font-weight:600}rect{fill:#8aa0b8}rect.ours{fill:#d9602b}line{stroke:#777}polyline{fill:none;"
         "stroke-width:2;stroke:#3569b2}.second{stroke:#c8553d}@media(prefers-color-scheme:dark){text,.title{fill:#ccc}}")
WIDTH, ROW, LEFT, RIGHT = 360, 34, 88, 26  # of plots of rates
SIDE = 300  # of the square of the scatter plot


def shape(tag: str, content: str = "", title: str = "", **attributes: object) -> str:
    """One element. Attributes: `class_` is class, `text_anchor` is text-anchor; fractions get one decimal.

    >>> shape("line", x1=0, x2=2.5, class_="axis")
    '<line x1="0" x2="2.5" class="axis"/>'
    """
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"' for name, value in attributes.items())
    inner = escape(content) + (f"<title>{escape(title)}</title>" if title else "")
    return f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>"


def _value(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else escape(str(value))


def picture(shapes: Iterable[str], width: float, height: float, label: str, style: str = "", class_: str = "") -> str:
    """The whole SVG. label: for screen readers. style: of a picture outside of a page. class_: of one inside."""
    kind = f' class="{class_}"' if class_ else ""
    inner = f"<style>{style}</style>" if style else ""
    return (f'<svg xmlns="http://www.w3.org/2000/svg"{kind} viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{escape(label)}">{inner}{"".join(shapes)}</svg>')


def histogram(counts: Sequence[tuple[int, str, int]], kinds: Sequence[str], bin_width: float, unit: str) -> str:
    """Stacked columns from (bin, kind, count); bin b covers b × bin_width and up. The kinds become classes."""
    if not counts:
        return ""
    width, height = 720, 190
    n_bins = max(number for number, _, _ in counts) + 1
    totals = [sum(count for number, _, count in counts if number == one) for one in range(n_bins)]
    x, heights, shapes = scale(0, n_bins, 0, width), [0.0] * n_bins, []
    for number, kind, count in sorted(counts, key=lambda item: kinds.index(item[1])):
        tall = count * (height - 12) / max(totals)
        heights[number] += tall
        title = f"{number * bin_width:g}–{(number + 1) * bin_width:g} {unit}: {count} {kind}"
        shapes.append(shape("rect", title=title, class_=kind, x=x(number) + 0.5, y=height - heights[number],
                            width=max(x(1) - 1, 0.5), height=tall))
    for number in range(0, n_bins, max(1, round(n_bins / 10))):
        shapes.append(shape("text", f"{number * bin_width:g}", x=x(number), y=height + 15))
    shapes.append(shape("line", x1=0, x2=width, y1=height, y2=height))
    shapes.append(shape("text", f"{unit}; highest column {max(totals):,}", class_="unit", x=width, y=height + 30))
    return picture(shapes, width, height + 34, f"Histogram of {unit}", class_="chart")


def line_panels(panels: Mapping[str, Mapping[str, Points]], unit: str, label: str, *, from_zero: bool = False) -> str:
    """A panel for each title, one below the other, with a line for each name; x begins at 0 and counts `unit`.

    A line of less than two points, and a panel without a line, are left out. from_zero: y begins at 0 too, so that
    what hardly changes looks like it.
    """
    width, height, left, top, shapes = 720, 150, 60, 20, []
    last = max((x for lines in panels.values() for points in lines.values() for x, _ in points), default=1)
    for title, lines in panels.items():
        drawn = {name: points for name, points in lines.items() if len(points) > 1}
        values = [value for points in drawn.values() for _, value in points]
        if not values:
            continue
        lowest = 0 if from_zero else min(values)
        x, y = scale(0, last, left, left + width), scale(lowest, max(values), top + height, top)
        shapes.append(shape("text", title, class_="title", x=left, y=top - 6))
        for value in (lowest, max(values)):
            written = f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
            shapes.append(shape("line", x1=left, x2=left + width, y1=y(value), y2=y(value)))
            shapes.append(shape("text", written, x=left - 6, y=y(value) + 4, text_anchor="end"))
        for name, points, class_ in zip(drawn, drawn.values(), ("first", "second"), strict=False):
            shapes.append(shape("polyline", title=name, class_=class_,
                                points=" ".join(f"{x(one):.1f},{y(value):.1f}" for one, value in points)))
        names = ", ".join(f"{name}: {colour}" for name, colour in zip(drawn, ("blue", "red"), strict=False))
        shapes.append(shape("text", f"{last:g} {unit}; {names}", x=left + width, y=top + height + 16,
                            text_anchor="end"))
        top += height + 46
    return picture(shapes, width + left + 10, top, label, style=ALONE)


def rates(names: Sequence[str], values: Sequence[float], ranges: Sequence[Range | None], caption: str) -> str:
    """One row for each name: a dot at its rate (0 … 1 and above), and a line over its interval where there is one."""
    ticks = round_ticks(0.0, max([*values, *(found[1] for found in ranges if found), 0.01]))
    kinds = ["base", *["tuned"] * (len(names) - 1)]
    return _rows(list(zip(names, values, ranges, kinds, strict=True)), ticks, "{:.0%}", caption)


def difference(value: float, found: Range | None, caption: str) -> str:
    """The difference of two rates on an axis with a line at no difference."""
    reach = max(*map(abs, found or (value,)), abs(value), 0.01)
    return _rows([("Difference", value, found, "tuned")], round_ticks(-reach, reach), "{:+.0%}", caption)


def _rows(rows: Sequence[tuple[str, float, Range | None, str]], ticks: Sequence[float], form: str, caption: str) -> str:
    x, bottom = scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT), ROW * len(rows) + 8
    shapes = _grid(x, ticks, 0, bottom, form)
    if ticks[0] < 0:
        shapes.append(shape("line", class_="axis", x1=x(0), x2=x(0), y1=0, y2=bottom))
    for number, (name, value, found, kind) in enumerate(rows):
        y = ROW * number + ROW / 2 + 4
        shapes.append(shape("text", name, x=0, y=y + 4))
        if found:
            shapes.append(shape("line", class_=kind, stroke_width=2.5, x1=x(found[0]), x2=x(found[1]), y1=y, y2=y))
        shapes.append(shape("circle", class_=kind, cx=x(value), cy=y, r=5))
    return _figure(shapes, WIDTH, bottom + 20, caption)


def scatter(base: Sequence[float], fine_tuned: Sequence[float], clips: Sequence[str], caption: str) -> str:
    """A dot for each clip, larger where several are: its rate with base to the right, with fine-tuned upwards."""
    ticks, left, foot = round_ticks(0.0, max([1.0, *base, *fine_tuned])), 44, SIDE - 34
    x, y = scale(0.0, ticks[-1], left, SIDE - 18), scale(0.0, ticks[-1], foot, 10)
    shapes = _grid(x, ticks, 10, foot, "{:.0%}")
    for tick in ticks:
        shapes.append(shape("line", class_="grid", x1=left, x2=SIDE - 18, y1=y(tick), y2=y(tick)))
        shapes.append(shape("text", f"{tick:.0%}", x=left - 5, y=y(tick) + 4, text_anchor="end"))
    shapes.append(shape("line", class_="axis", stroke_dasharray="4 3", x1=x(0), y1=y(0), x2=x(ticks[-1]),
                        y2=y(ticks[-1])))
    places: dict[tuple[float, float], list[str]] = {}
    for one, other, clip in zip(base, fine_tuned, clips, strict=True):
        places.setdefault((one, other), []).append(clip)
    for (one, other), here in places.items():
        title = f"{', '.join(here[:6])}{' …' if len(here) > 6 else ''}: base {one:.0%}, fine-tuned {other:.0%}"
        radius = 2.5 + 1.5 * len(here) ** 0.5
        shapes.append(shape("circle", title=title, class_="dot", cx=x(one), cy=y(other), r=radius))
    shapes.append(shape("text", "base", x=(left + SIDE) / 2, y=SIDE - 3, text_anchor="middle"))
    shapes.append(shape("text", "fine-tuned", transform=f"translate(10 {foot / 2}) rotate(-90)", text_anchor="middle"))
    return _figure(shapes, SIDE, SIDE, caption)


def _grid(x: Scale, ticks: Sequence[float], top: float, bottom: float, form: str) -> list[str]:
    return [part for tick in ticks for part in (
        shape("line", class_="grid", x1=x(tick), x2=x(tick), y1=top, y2=bottom),
        shape("text", form.format(tick) if tick else "0%", x=x(tick), y=bottom + 15, text_anchor="middle"))]


def _figure(shapes: Iterable[str], width: float, height: float, caption: str) -> str:
    return f"<figure>{picture(shapes, width, height, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """From values of low … high to places start … end in the picture."""
    return lambda value: start + (value - low) / ((high - low) or 1.0) * (end - start)


def round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round values that reach from below `low` to above `high`, in whole percents."""
    rough = (high - low) / 4
    size = max(10 ** math.floor(math.log10(rough)), 0.01)
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if size * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 6) for number in range(first, max(last, first + 1) + 1)]
