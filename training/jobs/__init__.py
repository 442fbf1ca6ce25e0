from training.jobs.options import Options
from training.jobs.work import train

__all__ = ["Options", "train"]
