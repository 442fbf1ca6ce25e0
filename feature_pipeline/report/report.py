"""`report.html`: what is in the data set, to look at and listen to. One file; nothing in it is fetched from anywhere.

Enters: the decided rows, the manifest and a few samples. Leaves: HTML with its style, its charts and its sound inside.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feature_pipeline.chunks import Chunks
from feature_pipeline.names import words_of
from feature_pipeline.report.page import as_mp3, bars, legend, page, player, table
from feature_pipeline.rows import SPLITS
from feature_pipeline.selection import Selection
from shared.charts import histogram
from shared.units import spoken_time
from shared.whisper_constants import WINDOW_SECONDS

SAMPLES = {"train": 9, "validation": 3, "test": 3}
TOP_WORDS = 40


@dataclass(frozen=True)
class Sample:
    """A clip to listen to: MP3, which every browser plays."""

    id: str
    split: str
    text: str
    speaker: str | None
    duration: float
    mp3: bytes


def samples_of(selection: Selection, chunks: Chunks) -> list[Sample]:
    """A few rows of each split, the same in every run."""
    rows = []
    for split, count in SAMPLES.items():
        places = selection.db.execute("select chunk, position from rows where reason is null and split = ? "
                                      "order by rank('report', id), n limit ?", (split, count)).fetchall()
        rows += [(split, chunks.row(place)) for place in sorted(places)]
    clips = as_mp3([row["audio"]["bytes"] for _, row in rows])
    return [Sample(row["id"], split, row["text"], row["speaker"], row["duration"], clip)
            for (split, row), clip in zip(rows, clips, strict=True)]


def report(selection: Selection, facts: dict[str, Any], samples: Sequence[Sample]) -> str:
    """The page."""
    splits = facts["splits"]
    n_rows = sum(split["rows"] for split in splits.values())
    seconds = sum(split["hours"] for split in splits.values()) * 3600
    n_dropped = sum(drop["rows"] for drop in facts["drops"])
    speakers, = selection.db.execute(
        "select count(distinct source || speaker) from rows where reason is null").fetchone()
    sizes = facts["sizes"]
    figures = [
        (spoken_time(seconds), "of speech"), (f"{n_rows:,}", "utterances"),
        (f"{speakers or '–'}", "speaker" if speakers == 1 else "speakers"),
        (f"{n_dropped:,}", f"dropped of {n_rows + n_dropped:,}"),
        (f"{sizes['data_set_bytes'] / 1e6:.1f} MB", f"on disk, {sizes['ratio_to_source'] or '–'} × the source audio"),
        (f"{sizes['spectrograms_per_data_set']:.0f} ×", "smaller than padded spectrograms"),
    ]
    sections = [
        ("Splits", _splits(splits) + _notes(facts)),
        ("Length of the clips", _histogram(selection, "duration", 0.5, int(WINDOW_SECONDS), "seconds")),
        ("Speaking rate", _histogram(selection, "letters_per_second", 1, 30, "letters per second")),
        ("Speakers", _speakers(selection)),
        ("Dropped rows", _drops(facts["drops"])),
        ("Vocabulary", _vocabulary(selection)),
        ("Samples", _samples(samples)),
        ("Where it comes from", _origin(facts)),
    ]
    return page(facts["title"], _languages(facts), figures, sections)


def _languages(facts: dict[str, Any]) -> str:
    languages = sorted({language for source in facts["sources"] for language in source["languages"]})
    return f"Languages: {', '.join(languages)} · licence: {facts['licence']} · {facts['credit']}".rstrip(" ·")


def _splits(splits: dict[str, Any]) -> str:
    rows = [(name, f"{s['rows']:,}", spoken_time(s["hours"] * 3600), s["speakers"] or "–", f"{s['sentences']:,}")
            for name, s in splits.items()]
    total = sum(s["hours"] for s in splits.values()) or 1
    share = "".join(f'<span class="{name}" style="flex:{s["hours"] / total:.4f}" title="{name}"></span>'
                    for name, s in splits.items())
    return (f'<div class="share">{share}</div>{legend(list(splits))}'
            + table(("split", "utterances", "length", "speakers", "sentences"), rows))


def _notes(facts: dict[str, Any]) -> str:
    notes = [f"{leak['rows']} rows shared a {leak['kind']} between {leak['between']}: "
             + ("dropped from the second" if leak["dropped"] else "still there") for leak in facts["leaks"]]
    notes += facts["warnings"]
    shared = facts["in_several_splits"]
    verdict = ("No sentence stands in two splits" if not shared["sentences"] else
               f"{shared['sentences']} sentences stand in more than one split")
    verdict += ("; no known speaker either." if not shared["speakers"] else
                f"; {shared['speakers']} {'voice is' if shared['speakers'] == 1 else 'voices are'} in more than one.")
    listed = f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""
    return f'<p class="{"notes" if shared["sentences"] else "good"}">{verdict}</p>{listed}'


def _histogram(selection: Selection, column: str, width: float, highest: float, unit: str) -> str:
    found = selection.db.execute(f"""select cast(min({column}, ?) / ? as int) as bin, split, count(*) from rows
        where reason is null group by bin, split""", (highest - width / 2, width)).fetchall()
    low, middle, high = (selection.db.execute(
        f"select {column} from rows where reason is null order by {column} limit 1 offset "
        "(select cast(count(*) * ? as int) from rows where reason is null)", (share,)).fetchone()[0]
        for share in (0.05, 0.5, 0.95))
    return (histogram(found, SPLITS, width, unit) +
            f'<p class="quiet">Half of the clips lie below {middle:.1f}, nine of ten between {low:.1f} and {high:.1f} '
            f"{unit}.</p>")


def _speakers(selection: Selection) -> str:
    found = selection.db.execute("""select coalesce(speaker, 'not known'), count(*), sum(duration) from rows
        where reason is null group by 1 order by 3 desc, 1""").fetchall()
    shown = [(name, seconds, f"{spoken_time(round(seconds))}, {rows} clips") for name, rows, seconds in found[:15]]
    rest = f'<p class="quiet">and {len(found) - 15} more</p>' if len(found) > 15 else ""
    return bars(shown) + rest


def _drops(drops: Sequence[dict[str, Any]]) -> str:
    if not drops:
        return '<p class="good">Nothing was dropped.</p>'
    shown = bars([(drop["reason"], drop["rows"], f"{drop['rows']:,}") for drop in drops])
    examples = "".join(
        f"<h3>{html.escape(drop['reason'])}</h3><ul>" + "".join(
            f"<li><code>{html.escape(e['id'])}</code> {html.escape(e['detail'] or '')}</li>" for e in drop["examples"])
        + "</ul>" for drop in drops)
    return f"{shown}<details><summary>Examples of each</summary>{examples}</details>"


def _vocabulary(selection: Selection) -> str:
    words: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    for (text,) in selection.db.execute("select text from rows where reason is null"):
        words.update(word for word in words_of(text) if word)
        letters.update(text)
    once = sum(count == 1 for count in words.values())
    top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:TOP_WORDS]
    chips = "".join(f"<span>{html.escape(word)} <b>{count}</b></span>" for word, count in top)
    signs = "".join(html.escape(sign) for sign, _ in sorted(letters.items(), key=lambda item: (-item[1], item[0]))
                    if not sign.isspace())
    return (f"<p>{sum(words.values()):,} words, {len(words):,} different, {once:,} of them only once.</p>"
            f'<div class="chips">{chips}</div><h3>All characters, most frequent first</h3><p class="signs">{signs}</p>')


def _samples(samples: Sequence[Sample]) -> str:
    cards = "".join(
        f'<li><p>{html.escape(sample.text)}</p>{player(sample.mp3)}<p class="quiet"><b class="tag {sample.split}">'
        f"{sample.split}</b> {sample.duration:.1f} s · {html.escape(sample.speaker or 'speaker not known')} · "
        f"<code>{html.escape(sample.id)}</code></p></li>" for sample in samples)
    return f'<ul class="cards">{cards}</ul>'


def _origin(facts: dict[str, Any]) -> str:
    rows = [(source["name"], source["kind"], f"{source['rows_kept']:,} of {source['rows']:,}",
             spoken_time(round(source["hours_kept"] * 3600))) for source in facts["sources"]]
    return (table(("source", "kind", "rows kept", "length"), rows)
            + "<details><summary>Everything that made this data set: settings, versions, hashes</summary><pre>"
            + html.escape(json.dumps({key: facts[key] for key in ("config", "versions", "sources", "files", "shards")},
                                     ensure_ascii=False, indent=2)) + "</pre></details>")
