"""What hotwords mend and what they spoil: errors on the listed words and on all others, with lists of several lengths.

    python -m benchmarks.hotwords data/drascula data/asterisk-en --splits test
    python -m benchmarks.hotwords data/drascula --splits train --bonus 2,0.5 3,0.5 4,0.5      # other bonuses

Words are rare where Whisper's vocabulary cuts them into several tokens: names, and terms of a trade. The clips of a
data set are taken in groups, each with a list: the rare words of its references, of which a group has at most half
the list, and distractors, rare words of the other references given. "absent" is a list of distractors alone. Every
clip is one window, as it is; so nothing but decoding is measured.

An error belongs to the listed words if the reference's word is listed, or if a listed word was inserted. Prints a line
for each list: its errors on the words that are listed for the clip's group, in per cent of these words, and on all
others, with the change against no list. The bonus was chosen on the training splits; test splits are reported.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.context import clips
from shared.audio import load_audio
from shared.audio.windows import Window
from shared.checkpoint import Checkpoint
from shared.checkpoint.tokenizer import Tokens
from shared.engines import hotword_trie
from shared.inference import Options, Transcriber
from shared.inference.batches import Batches, Job
from shared.inference.window_decoder import WindowDecoder
from shared.wer import normalise, word_errors

LISTS = (10, 100, 1000)
MIN_LETTERS = 4
MIN_TOKENS = {"en": 2}  # of a rare word; 3 in other languages, whose common words take two
MARKS = ".,;:!?¡¿…\"“”«»()[]-–—'’"


@dataclass(frozen=True)
class Spoken:
    """A clip, encoded. rare: its rare words as they are written."""

    text: str
    language: str
    window: Window
    states: Any
    rare: tuple[str, ...]


@dataclass
class Counts:
    """n, errors: words of a reference, and errors on them."""

    n: int = 0
    errors: int = 0

    @property
    def rate(self) -> float:
        return 100 * self.errors / max(self.n, 1)


def rare_words(texts: Iterable[str], language: str, tokens: Tokens) -> list[tuple[str, ...]]:
    """Of each text. A word that is ever written small is listed small."""
    split = [[word.strip(MARKS) for word in text.split()] for text in texts]
    small = {word for words in split for word in words if word == word.lower()}

    def is_rare(word: str) -> bool:
        return (len(word) >= MIN_LETTERS and word.isalpha()
                and len(tokens.encode(f" {word}")) >= MIN_TOKENS.get(language, 3))

    shown = [[word.lower() if word.lower() in small else word for word in words] for words in split]
    return [tuple(dict.fromkeys(filter(is_rare, words))) for words in shown]


def spoken(decoder: WindowDecoder, rows: Sequence[dict]) -> list[Spoken]:
    rare = rare_words([row["text"] for row in rows], rows[0]["language"], decoder.tokens)
    found = []
    for row, words in zip(rows, rare, strict=True):
        samples = load_audio(row["audio"]["bytes"]).samples
        window = Window(samples, ((0, 0, len(samples)),))
        found.append(Spoken(row["text"], row["language"], window, decoder.encode([window]), words))
    return found


def texts_of(decoder: WindowDecoder, group: Sequence[Spoken], hotwords: tuple[str, ...]) -> list[str]:
    jobs = [Job(n, one.window, decoder, one.language, one.states) for n, one in enumerate(group)]
    texts: list[list[str]] = [[] for _ in group]
    for batch in Batches(jobs).decoded(Options(hotwords=hotwords)):
        for job, segments, _ in batch:
            texts[job.place] += [segment.text for segment in segments]
    return [" ".join(text) for text in texts]


def groups(every: Sequence[Spoken], n: int, others: Sequence[str]) -> Iterator[tuple[list[Spoken], tuple[str, ...]]]:
    """Clips with their list of n words, of which they hold at most half (or what one clip holds)."""
    group: list[Spoken] = []
    held: dict[str, None] = {}
    for one in every:
        if group and len(held.keys() | set(one.rare)) > n / 2:
            yield group, _filled(held, n, others)
            group, held = [], {}
        group.append(one)
        held.update(dict.fromkeys(one.rare))
    yield group, _filled(held, n, others)


def _filled(held: Iterable[str], n: int, others: Sequence[str]) -> tuple[str, ...]:
    words = dict.fromkeys(held)
    wanted = random.Random(n).sample(list(others), len(others))
    words.update(dict.fromkeys([word for word in wanted if word not in words][: max(0, n - len(words))]))
    return tuple(words)


def count(one: Spoken, text: str, hotwords: Iterable[str], listed: Counts, rest: Counts) -> None:
    """One clip's errors. Listed are the clip's own rare words; inserted, any word of the list."""
    own = {normalise(word, one.language) for word in one.rare}
    offered = {normalise(word, one.language) for word in hotwords} | own
    for step in word_errors(one.text, text, one.language).alignment:
        side = listed if (step.reference in own or (not step.reference and step.hypothesis in offered)) else rest
        side.n += bool(step.reference)
        side.errors += step.kind != "hit"


def measured(decoder: WindowDecoder, every: Sequence[Spoken], others: Sequence[str], sizes: Sequence[int]
             ) -> Iterator[dict[str, Any]]:
    absent = [word for word in others if word not in {word for one in every for word in one.rare}]
    plain = texts_of(decoder, every, ())
    kinds: list[tuple[str, list[tuple[Sequence[Spoken], tuple[str, ...]]]]] = [("none", [(every, ())])]
    kinds += [(str(n), list(groups(every, n, others))) for n in sizes]
    kinds.append(("absent", [(every, _filled((), max(sizes), absent))]))
    place = {id(one): n for n, one in enumerate(every)}
    for name, lists in kinds:
        listed, rest, changed, begun = Counts(), Counts(), 0, time.process_time()
        for group, words in lists:
            texts = plain if name == "none" else texts_of(decoder, group, words)
            for one, text in zip(group, texts, strict=True):
                count(one, text, words, listed, rest)
                changed += text != plain[place[id(one)]]
        yield {"list": name, "words": round(sum(len(words) for _, words in lists) / len(lists)), "clips": len(every),
               "n_listed": listed.n, "listed": listed.rate, "n_rest": rest.n, "rest": rest.rate, "changed": changed,
               "seconds": round(time.process_time() - begun, 1)}


def line(row: dict[str, Any], none: dict[str, Any]) -> str:
    gain = 100 * (row["listed"] / none["listed"] - 1) if none["listed"] else 0.0
    rates = f"{row['listed']:.1f} ({gain:+.0f} %) | {row['rest']:.1f} ({row['rest'] - none['rest']:+.1f})"
    return (f"| {row['data']} | {row['list']} ({row['words']}) | {row['n_listed']} | {row['n_rest']} | {rates} | "
            f"{row['changed']} of {row['clips']} | {row['seconds']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA_SET")
    parser.add_argument("--checkpoint", default="embedded:whisper-base")
    parser.add_argument("--splits", type=lambda text: text.split(","), default=["test"])
    parser.add_argument("--clips", type=int, default=150, help="of each data set, at most (150)")
    parser.add_argument("--distractors", nargs="*", type=Path, default=[], metavar="DATA_SET",
                        help="whose words fill the lists, beside those of all splits of the data sets measured")
    parser.add_argument("--lists", type=lambda text: [int(x) for x in text.split(",")], default=list(LISTS))
    parser.add_argument("--bonus", nargs="*", default=[], metavar="ENTRY,TOKEN", help="in place of the usual one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    transcriber = Transcriber(Checkpoint.parse(asked.checkpoint), engine="torch")
    decoder, rows = transcriber.window_decoder, []
    others = _others([*asked.data, *asked.distractors], decoder.tokens)
    print("| data | list (words) | listed | others | errors on listed % | on the others % | texts changed | seconds |")
    print("|" + " --- |" * 8)
    for folder in asked.data:
        every = spoken(decoder, clips(folder, asked.splits, asked.clips))
        for bonus in asked.bonus or [None]:
            if bonus is not None:
                entry, token = map(float, bonus.split(","))
                hotword_trie.BONUS = hotword_trie.Bonus(entry, token)
                hotword_trie.trie_of.cache_clear()
                print(f"bonus {bonus}")
            found: list[dict[str, Any]] = []
            for row in measured(decoder, every, others, asked.lists):
                found.append({"data": folder.name, "bonus": bonus} | row)
                print(line(found[-1], found[0]), flush=True)
            rows += found
    if asked.out:
        asked.out.write_text(json.dumps({"checkpoint": asked.checkpoint, "splits": asked.splits, "rows": rows,
                                         "python": platform.python_version()}, indent=1) + "\n", encoding="utf-8")


def _others(folders: Iterable[Path], tokens: Tokens) -> list[str]:
    """The rare words of all their references, each once."""
    found: dict[str, None] = {}
    for folder in folders:
        rows = clips(folder, ["train", "validation", "test"], 10**9)
        for words in rare_words([row["text"] for row in rows], rows[0]["language"], tokens):
            found.update(dict.fromkeys(words))
    return list(found)


if __name__ == "__main__":
    main()
