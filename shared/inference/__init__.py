from shared.inference.many import WATCHED, Heard, in_groups, transcribe_as_one
from shared.inference.transcriber import Choose, OnText, Progress, Transcriber
from shared.options import TASKS, Options

__all__ = ["TASKS", "WATCHED", "Choose", "Heard", "OnText", "Options", "Progress", "Transcriber", "in_groups",
           "transcribe_as_one"]
