"""Texts in the form of NIST's sclite, so that another program can count the same errors.

    sclite -r reference.trn trn -h hypothesis.trn trn -i spu_id -e utf-8 -s

Enters: references and hypotheses. Leaves: two files, one line an utterance: the units that `shared.wer` counts, then
the utterance's id in brackets. sclite then gives the same number of units and of errors; it may call a pair of errors a
substitution where `shared.wer` sees a deletion and an insertion, and weighs them 4 against 3, so that on texts with
hardly a word in common it can find more errors than the fewest there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.wer.normaliser import normalise, unit

# Inside a word sclite reads a hyphen as a fragment's end; brackets, braces, @ and ; do not outlive normalising.
HYPHEN = str.maketrans({"-": "‐"})


def write_trn(folder: Path, texts: Iterable[tuple[str, str, str | None]]) -> None:
    """Write reference.trn and hypothesis.trn.

    Args:
        folder: where; made if missing.
        texts: reference, hypothesis and language of the text, one for each utterance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines: tuple[list[str], list[str]] = ([], [])
    for number, (reference, hypothesis, language) in enumerate(texts):
        for into, text in zip(lines, (reference, hypothesis), strict=True):
            into.append(f"{_units(text, language)} (clip_{number:06d})\n")
    for name, into in zip(("reference", "hypothesis"), lines, strict=True):
        (folder / f"{name}.trn").write_text("".join(into), encoding="utf-8")


def _units(text: str, language: str | None) -> str:
    text = normalise(text, language)
    if unit(language) == "character":
        text = " ".join("".join(text.split()))
    return text.translate(HYPHEN)
