from shared.checkpoint.identity import (
    BASE,
    EMBEDDED,
    FINE_TUNED,
    MODELS,
    Account,
    Checkpoint,
    configured,
    named,
)
from shared.checkpoint.info import Facts, ShortContext, facts
from shared.checkpoint.measured import Measured, Rate, measured
from shared.checkpoint.resolve import WITH_ROOM, Download, Form, files
from shared.checkpoint.weights import check_finite, weight_files

__all__ = [
    "BASE",
    "EMBEDDED",
    "FINE_TUNED",
    "MODELS",
    "WITH_ROOM",
    "Account",
    "Checkpoint",
    "Download",
    "Facts",
    "Form",
    "Measured",
    "Rate",
    "ShortContext",
    "check_finite",
    "configured",
    "facts",
    "files",
    "measured",
    "named",
    "weight_files",
]
