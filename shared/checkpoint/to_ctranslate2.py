"""A transformers checkpoint in CTranslate2's form, with everything a serving program asks for beside it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from shared.checkpoint.tokenizer import tokenizer_file

COPIED = ("preprocessor_config.json", "README.md", "run.json", "tail.npy")
FACTS = ("finetuned_languages", "short_context", "timestamps")  # keys of config.json that `checkpoint.facts` reads


def to_ctranslate2(source: Path, folder: Path, quantization: str = "float16") -> None:
    """Write `source` (transformers' form) into the empty or existing `folder`.

    quantization: of the weights on disk; CTranslate2 may quantise further as it loads.
    """
    from ctranslate2.converters import TransformersConverter

    logging.getLogger("transformers").setLevel(logging.ERROR)
    converter = TransformersConverter(str(source), low_cpu_mem_usage=True)
    converter.convert(str(folder), quantization=quantization, force=True)
    _keep_facts(source, folder)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    shutil.copyfile(tokenizer_file(source), folder / "tokenizer.json")


def _keep_facts(source: Path, folder: Path) -> None:
    said = json.loads((source / "config.json").read_text(encoding="utf-8"))
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {key: said[key] for key in FACTS if key in said}, indent=1), encoding="utf-8")
