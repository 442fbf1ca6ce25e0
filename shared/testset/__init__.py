from shared.testset.evaluation import MAX_CLIP_SECONDS, Evaluation, ScoredClip, as_csv, as_jsonl, evaluate
from shared.testset.hub_reader import hub_clips
from shared.testset.zip_reader import Clip, ClipSet, zip_clips

__all__ = [
    "MAX_CLIP_SECONDS",
    "Clip",
    "ClipSet",
    "Evaluation",
    "ScoredClip",
    "as_csv",
    "as_jsonl",
    "evaluate",
    "hub_clips",
    "zip_clips",
]
