"""The results as one SVG picture: a bar a program, as long as it is fast, with its word error and memory.

    python -m benchmarks.peers.plot benchmarks/results/….json docs/images/bench-….svg

Enters: what `store` keeps. Leaves: SVG that needs nothing else and follows light and dark.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.peers.report import MODE_NAMES, summary
from benchmarks.peers.sets import SETS
from shared.charts import ALONE, picture, scale, shape

LANGUAGES = {"en": "English", "it": "Italian"}
LEFT, BARS, RIGHT = 250, 340, 190  # widths of names, bars and figures
ROW, BAR, TITLE, FOOT = 22, 14, 34, 40


def plot(content: dict[str, Any]) -> str:
    """One panel a set and mode; short ones share a scale, and so do long ones."""
    panels = [rows for name in SETS for mode in MODE_NAMES if (rows := summary(content, name, mode))]
    parts, top = [], 4
    for rows in panels:
        like = [row["fastest"] for other in panels for row in other if (row["mode"] == "long") == (
            rows[0]["mode"] == "long")]
        parts.append(_panel(rows, max(like), top))
        top += TITLE + ROW * len(rows)
    machine = content["machine"]
    foot = (f"{content['checkpoint']} on {machine['cores']} cores of {machine['cpu']}, family {machine['family']} "
            f"({', '.join(machine['flags'])})")
    width, height = LEFT + BARS + RIGHT, top + FOOT
    parts += [shape("text", line, x=4, y=height - above)
              for line, above in ((foot, 22), ("Bar: median; line: all rounds", 6))]
    return picture(parts, width, height, "Speed, word error and memory of each program", style=ALONE) + "\n"


def _panel(rows: list[dict[str, Any]], widest: float, top: int) -> str:
    kind, language = rows[0]["set"].split("-")
    mode = MODE_NAMES[rows[0]["mode"]]
    title = f"{LANGUAGES[language]}, " + (mode if kind == "long" else f"prompts of 1–15 s, {mode}")
    parts = [shape("text", title, class_="title", x=4, y=top + 20),
             shape("text", "× real time · WER · memory", x=LEFT + BARS + RIGHT - 4, y=top + 20, text_anchor="end")]
    x = scale(0, widest, LEFT, LEFT + BARS)
    for n, row in enumerate(rows):
        y = top + TITLE + ROW * n
        name = "ours" if row["system"].startswith("ours") else "peer"
        figures = f"{row['rtfx']:.1f} × · {100 * row['wer']:.1f} % · {row['peak_mb']:.0f} MB"
        parts += [
            shape("text", row["label"], class_=name, x=LEFT - 8, y=y + 11, text_anchor="end"),
            shape("rect", class_=name, x=LEFT, y=y, width=x(row["rtfx"]) - LEFT, height=BAR, rx=2),
            shape("line", x1=x(row["slowest"]), x2=x(row["fastest"]), y1=y + BAR / 2, y2=y + BAR / 2),
            shape("text", figures, class_=name, x=x(row["fastest"]) + 6, y=y + 11)]
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a file of benchmarks/results")
    parser.add_argument("out", type=Path, help="the SVG to write")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(plot(json.loads(given.results.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
