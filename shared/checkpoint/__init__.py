from shared.checkpoint.lora import merge_adapter
from shared.checkpoint.resolve import (
    EMBEDDED,
    TAIL_FILE,
    WITH_ROOM,
    Checkpoint,
    Facts,
    configured,
    facts,
    files,
    learned_tail,
)

__all__ = [
    "EMBEDDED",
    "TAIL_FILE",
    "WITH_ROOM",
    "Checkpoint",
    "Facts",
    "configured",
    "facts",
    "files",
    "learned_tail",
    "merge_adapter",
]
