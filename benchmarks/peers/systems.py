"""Who runs: each peer as its users would run it on a CPU, on the same weights.

Names are those of the command line. Whatever is not given here is the program's own default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKERS = Path(__file__).parent / "workers"
MODES = {"short": ("single", "batch"), "long": ("long",)}


@dataclass(frozen=True)
class System:
    """program: its file in workers/ and environment. form: of the weights (convert.py). modes: what is asked of it."""

    name: str
    label: str
    program: str
    form: str
    options: dict[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = ("single", "long")
    words: bool = False
    listed: bool = True  # runs unless others are asked for

    @property
    def worker(self) -> Path:
        return WORKERS / f"on_{self.program.replace('-', '_')}.py"


ALL = ("single", "batch", "long")
INT8 = {"engine": "auto", "compute_type": "auto"}


def _faster_whisper(name: str, label: str, modes: tuple[str, ...], *, beam_size: int = 1, batched: bool = False,
                    **more: Any) -> System:
    options = {"compute_type": "int8", "beam_size": beam_size, "batched": batched}
    return System(name, label, "faster-whisper", "ctranslate2", options, modes, **more)


SYSTEMS = {system.name: system for system in (
    System("ours", "whisper-spaces", "ours", "ours", INT8, ALL),
    _faster_whisper("faster-whisper", "faster-whisper, int8", ("single", "long")),
    _faster_whisper("faster-whisper-batched", "faster-whisper, int8, batched", ("batch", "long"), batched=True),
    System("openvino", "openvino-genai, int8 weights", "openvino", "openvino-int8", {"precision": "native"}),
    System("transformers", "transformers, float32", "transformers", "transformers", {}, ALL),
    System("openai-whisper", "openai-whisper, float32", "openai-whisper", "openai"),
    System("whisper-cpp", "whisper.cpp, float16", "whisper-cpp", "ggml"),
    _faster_whisper("faster-whisper-beam5", "faster-whisper, int8, beam 5", ("single", "long"), beam_size=5),
    _faster_whisper("faster-whisper-batched-beam5", "faster-whisper, int8, batched, beam 5", ("batch", "long"),
                    beam_size=5, batched=True),
    System("whisper-cpp-q8_0", "whisper.cpp, Q8_0", "whisper-cpp", "ggml-q8_0"),
    System("openvino-f32", "openvino-genai, int8 weights, float32", "openvino", "openvino-int8", {"precision": "f32"},
           listed=False),
    System("ours-ctranslate2", "whisper-spaces, CTranslate2 int8", "ours", "ours",
           {"engine": "ctranslate2", "compute_type": "int8"}, ALL, listed=False),
    System("ours-torch", "whisper-spaces, torch", "ours", "ours", {"engine": "torch", "compute_type": "auto"}, ALL,
           listed=False),
    # The second table: what more than text costs.
    System("ours-words", "whisper-spaces, word times", "ours", "ours", INT8, words=True, listed=False),
    System("ours-speakers", "whisper-spaces, speakers", "ours", "ours", INT8 | {"speakers": True}, listed=False),
    System("ours-words-speakers", "whisper-spaces, word times and speakers", "ours", "ours",
           INT8 | {"speakers": True}, words=True, listed=False),
    _faster_whisper("faster-whisper-words", "faster-whisper, int8, word times", ("single", "long"), words=True,
                    listed=False),
    _faster_whisper("faster-whisper-batched-words", "faster-whisper, int8, batched, word times", ("long",),
                    batched=True, words=True, listed=False),
)}
EXTRAS = ("ours", "ours-words", "ours-speakers", "ours-words-speakers", "faster-whisper", "faster-whisper-words",
          "faster-whisper-batched", "faster-whisper-batched-words")
