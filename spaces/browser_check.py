"""Whether the page's checkpoints read as well as those they were made of: both on the clips of a test set.

Enters: a bundle of the page and a test set. Leaves: lines with the word error rates; an error where the page is worse
by more than a bound, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from browser_bundle import reader
from bundle import Weights

from shared.audio import Waveform
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.testset import ClipSet, evaluate, hub_clips, zip_clips


@dataclass(frozen=True)
class TestSet:
    """name: a zip with a table, or owner/name of a data set on the Hub, of which the split test is read. language: a
    code; None for the one that the fine-tuned checkpoint was tuned for. bound: points of WER."""

    name: str
    language: str | None = None
    bound: float = 2.0


def check_conversion(folder: Path, checkpoints: dict[str, Weights], test: TestSet) -> None:
    """Print each checkpoint's word error rate and that of its form for the page.

    Args:
        folder: the bundle.
        checkpoints: by the names of their folders in it.
        test: what they read.

    Raises:
        UserError: the page's form is worse by more than the bound, or the test set cannot be read.
    """
    originals = {key: Transcriber(Checkpoint.parse(str(weights))) for key, weights in checkpoints.items()}
    language = test.language or next((one.languages[0] for one in originals.values() if one.languages), None)
    if language is None:
        raise UserError("The test set's language is not known", got=test.name, hint="say it with --language")
    readers: dict[str, Callable[[Waveform], str]] = {}
    for key, weights in checkpoints.items():
        readers[key] = _original(originals[key], language)
        readers[f"{key} in a browser"] = reader(folder / "models" / key, str(weights), language)
    with _opened(test.name) as clips:
        found = evaluate(clips, readers, language=language)
    rates = {name: 100 * score.wer for name, score in zip(found.names, found.scores, strict=True)}
    for key in checkpoints:
        original, page = rates[key], rates[f"{key} in a browser"]
        print(f"{key}: {original:.2f} % WER on {len(found.clips)} clips, in a browser {page:.2f} % "
              f"({page - original:+.2f})", flush=True)
        if page - original > test.bound:
            raise UserError(f"The page's form of the {key} checkpoint is worse than the checkpoint",
                            got=f"{page - original:+.2f} points", limit=f"+{test.bound:g}",
                            hint="nothing was sent; choose another checkpoint, or raise --bound")


def _opened(name: str) -> AbstractContextManager[ClipSet]:
    return zip_clips(name) if Path(name).is_file() else nullcontext(hub_clips(name))


def _original(transcriber: Transcriber, language: str) -> Callable[[Waveform], str]:
    task = transcriber.facts.task
    return lambda waveform: transcriber.transcribe(waveform, language=language, task=task).text
