"""A transformers checkpoint in CTranslate2's form, with everything a serving program asks for beside it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from shared.checkpoint.info import copy_facts, copy_files
from shared.checkpoint.tokenizer import tokenizer_file
from shared.checkpoint.weights import read_json

COPIED = ("preprocessor_config.json", "README.md", "run.json")


def to_ctranslate2(source: Path, folder: Path, quantization: str = "float16") -> None:
    """Write `source` (transformers' form) into the empty or existing `folder`.

    quantization: of the weights on disk; CTranslate2 may quantise further as it loads.
    """
    from ctranslate2.converters import TransformersConverter
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # whoever waits is informed by `progress`, and one who asked for quiet is not
    logging.getLogger("transformers").setLevel(logging.ERROR)
    converter = TransformersConverter(str(source), low_cpu_mem_usage=True)
    converter.convert(str(folder), quantization=quantization, force=True)
    copy_facts(read_json(source / "config.json"), folder / "config.json")
    copy_files(COPIED, source, folder)
    shutil.copyfile(tokenizer_file(source), folder / "tokenizer.json")
