from shared.checkpoint.identity import EMBEDDED, MODELS, Checkpoint, configured
from shared.checkpoint.info import Facts, ShortContext, facts
from shared.checkpoint.resolve import TAIL_FILE, WITH_ROOM, Form, files, learned_tail
from shared.checkpoint.weights import weight_files

__all__ = [
    "EMBEDDED",
    "MODELS",
    "TAIL_FILE",
    "WITH_ROOM",
    "Checkpoint",
    "Facts",
    "Form",
    "ShortContext",
    "configured",
    "facts",
    "files",
    "learned_tail",
    "weight_files",
]
