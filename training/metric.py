"""python -m training.metric FOLDER/honest_wer: this project's WER and CER as a module of the `evaluate` library.

Leaves a folder that `evaluate.load` opens offline, and that `evaluate.load("user/honest_wer")` finds once it is pushed
as a Space: the module, and copies of `shared.wer` and of Whisper's languages, so that it gives the same numbers.
Defines nothing itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import shared

# `evaluate` copies the modules that this text imports, one name a line, and no others.
MODULE = '''"""Word and character error rate from pooled counts, with intervals; every script keeps its words."""

import datasets
import evaluate

from .bootstrap import score
from .counts import utterance_errors
from .languages import NO_SPACES
from .normaliser import normalise


class {name}(evaluate.Metric):
    """references, predictions: texts. language: ISO 639-1, decides how words are divided."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__, citation="", inputs_description=self.__doc__,
            features=datasets.Features({{name: datasets.Value("string") for name in ("predictions", "references")}}),
        )

    def _compute(self, predictions, references, language=None, seed=0):
        pairs = zip(references, predictions)
        found = score([utterance_errors(one, other, language) for one, other in pairs], seed=seed)
        words = found.words.errors
        return {{
            "wer": found.wer, "cer": found.cer, "raw_wer": found.raw_wer, "raw_cer": found.raw_cer,
            "interval_95": None if found.words.interval is None else list(found.words.interval),
            "substitutions": words.substitutions, "deletions": words.deletions, "insertions": words.insertions,
            "words": words.reference_length,
        }}

    def normalise(self, text, language=None):
        """The text as it is compared."""
        return normalise(text, language)
'''
CARD = """---
title: {name}
sdk: gradio
app_file: app.py
tags: [evaluate, metric]
---

# {name}

WER and CER from pooled counts, with a bootstrap interval over utterances, on text normalised so that the letters and
marks of every script stay.

```python
import evaluate

metric = evaluate.load("{name}")  # this folder, or user/{name} once it is a Space
metric.compute(references=["Guten Tag"], predictions=["guten tag."], language="de")
```
"""
APP = """import evaluate
from evaluate.utils import launch_gradio_widget

launch_gradio_widget(evaluate.load("{name}.py"))
"""
REQUIREMENTS = "evaluate>=0.4.6\njiwer>=4,<5\nnumpy\ndatasets\n"


def write_metric(folder: str | Path) -> Path:
    """Write the module into `folder`, whose name becomes its own."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name
    package = Path(shared.__file__).parent
    parts = {part.name: part for part in sorted((package / "wer").glob("[a-z]*.py"))}
    parts["languages.py"] = package / "languages" / "whisper.py"
    for file, part in parts.items():
        text = part.read_text(encoding="utf-8").replace("from shared.wer.", "from .").replace("from shared.", "from .")
        (folder / file).write_text(text, encoding="utf-8")
    camel = "".join(part.title() for part in name.split("_"))
    files = {f"{name}.py": MODULE.format(name=camel), "app.py": APP.format(name=name),
             "README.md": CARD.format(name=name), "requirements.txt": REQUIREMENTS}
    for path, text in files.items():
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.metric", description="Write the `evaluate` module.")
    parser.add_argument("folder", help="where to; its last part is the module's name, for example build/honest_wer")
    print(write_metric(parser.parse_args(arguments).folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
