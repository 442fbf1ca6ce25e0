from shared.inference.transcriber import TASKS, Progress, Transcriber
from shared.inference.window_decoder import Options

__all__ = ["TASKS", "Options", "Progress", "Transcriber"]
