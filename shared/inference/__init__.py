from shared.inference.transcriber import OnText, Progress, Transcriber
from shared.options import TASKS, Options

__all__ = ["TASKS", "OnText", "Options", "Progress", "Transcriber"]
