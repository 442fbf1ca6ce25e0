from shared.inference.transcriber import Progress, Transcriber
from shared.options import TASKS, Options

__all__ = ["TASKS", "Options", "Progress", "Transcriber"]
