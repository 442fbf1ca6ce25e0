from shared.checkpoint.identity import EMBEDDED, MODELS, Checkpoint, configured
from shared.checkpoint.info import Facts, ShortContext, facts
from shared.checkpoint.resolve import WITH_ROOM, Form, files
from shared.checkpoint.weights import weight_files

__all__ = [
    "EMBEDDED",
    "MODELS",
    "WITH_ROOM",
    "Checkpoint",
    "Facts",
    "Form",
    "ShortContext",
    "configured",
    "facts",
    "files",
    "weight_files",
]
