"""A transformers checkpoint in CTranslate2's form, with everything a serving program asks for beside it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from shared.checkpoint.info import copy_facts, copy_files
from shared.checkpoint.tokenizer import tokenizer_file
from shared.checkpoint.weights import check_finite, read_json, weight_files
from shared.errors import UserError

COPIED = ("preprocessor_config.json", "README.md", "run.json")


def to_ctranslate2(source: Path, folder: Path, quantization: str = "float16") -> None:
    """Write `source` (transformers' form) into the empty or existing `folder`.

    quantization: of the weights on disk; CTranslate2 may quantise further as it loads.
    """
    from ctranslate2.converters import TransformersConverter
    from transformers.utils.logging import disable_progress_bar

    _check_weights(source)
    disable_progress_bar()  # whoever waits is informed by `progress`, and one who asked for quiet is not
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        converter = TransformersConverter(str(source), low_cpu_mem_usage=True)
        converter.convert(str(folder), quantization=quantization, force=True)
    except Exception as error:  # the folder is somebody else's, and each library has its own word for damage
        if isinstance(error, MemoryError) or getattr(error, "errno", None) or os.strerror(errno.ENOSPC) in str(error):
            raise
        raise UserError("The checkpoint cannot be converted for CTranslate2",
                        got=f"{source.name}: {' '.join(str(error).split())[:160] or type(error).__name__}",
                        hint="fetch or save it again") from error
    copy_facts(read_json(source / "config.json"), folder / "config.json")
    copy_files(COPIED, source, folder)
    shutil.copyfile(tokenizer_file(source), folder / "tokenizer.json")


def _check_weights(folder: Path) -> None:
    """Raises UserError where a weight is not a number: such a model writes one sign for ever, without a word."""
    from safetensors import safe_open

    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it cannot be iterated
                check_finite(name, file.get_tensor(name))
