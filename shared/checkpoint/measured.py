"""What the card of a checkpoint says was measured: its own word error rate, and its base's on the same clips.

Enters: a checkpoint's folder. Leaves: numbers. Reads the cards that `training.card` writes; of other people's the
figure of `model-index`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SYSTEM = re.compile(r"^\| (?P<name>base|fine-tuned) \| (?P<wer>[\d.]+) \| "
                    r"(?:(?P<low>[\d.]+) … (?P<high>[\d.]+))?", re.M)
PAIRED = re.compile(r"^- fine-tuned against base: (?P<points>[+-][\d.]+) points(?: \((?P<low>[+-][\d.]+) … "
                    r"(?P<high>[+-][\d.]+)\))?, (?P<verdict>[a-z ]+)$", re.M)
CLIPS = re.compile(r"^Split `[^`]+` of .+?: (?P<clips>\d+) clips, (?P<minutes>[\d.]+) minutes", re.M)


@dataclass(frozen=True)
class Rate:
    """A word error rate.

    Attributes:
        wer: the rate, 1 for as many errors as words.
        low, high: ends of its 95 % interval, where there is one.
    """

    wer: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measured:
    """What a card says of the checkpoint's error rate; None where it does not say.

    Attributes:
        fine_tuned, base: on the same clips.
        data: what the clips are.
        base_id: Hub id of the base.
        n_clips: how many clips.
        minutes: length of the clips together.
        difference: fine-tuned minus base, with its interval.
        verdict: whether that is real, as `shared.wer` puts it.
    """

    fine_tuned: Rate | None = None
    base: Rate | None = None
    data: str | None = None
    base_id: str | None = None
    n_clips: int | None = None
    minutes: float | None = None
    difference: Rate | None = None
    verdict: str | None = None


def measured(folder: Path) -> Measured:
    """What the card in a folder says of the error rate.

    Args:
        folder: of a checkpoint or an adapter.

    Returns:
        The figures; all None where there is no card, or one that says nothing.
    """
    path = folder / "README.md"
    if not path.is_file():
        return Measured()
    card = path.read_text(encoding="utf-8", errors="replace")
    front = _front_matter(card)
    rates = {found["name"]: _rate(found) for found in SYSTEM.finditer(card)}
    tuned, data = _from_index(front)
    paired, clips = PAIRED.search(card), CLIPS.search(card)
    base = front.get("base_model")
    return Measured(
        rates.get("fine-tuned") or tuned, rates.get("base"), data, base if isinstance(base, str) else None,
        int(clips["clips"]) if clips else None, float(clips["minutes"]) if clips else None,
        _rate(paired, "points") if paired else None, paired["verdict"] if paired else None)


def _rate(found: re.Match[str], name: str = "wer") -> Rate:
    low, high = (float(found[side]) / 100 if found[side] else None for side in ("low", "high"))
    return Rate(float(found[name]) / 100, low, high)


def _front_matter(card: str) -> dict[str, Any]:
    front = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---", card, re.DOTALL)
    try:
        values = yaml.safe_load(front[1]) if front else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _from_index(front: Mapping[str, Any]) -> tuple[Rate | None, str | None]:
    """The first word error rate of a `model-index`, in percent there, and the name of its data set."""
    for result in _dicts(_first(front.get("model-index")).get("results")):
        for metric in _dicts(result.get("metrics")):
            value = metric.get("value")
            if metric.get("type") == "wer" and isinstance(value, int | float):
                data = result.get("dataset")
                name = data.get("name") if isinstance(data, dict) else None
                return Rate(float(value) / 100), name if isinstance(name, str) else None
    return None, None


def _first(values: object) -> dict[str, Any]:
    return next(_dicts(values), {})


def _dicts(values: object) -> Iterator[dict[str, Any]]:
    return (one for one in values if isinstance(one, dict)) if isinstance(values, list) else iter(())
