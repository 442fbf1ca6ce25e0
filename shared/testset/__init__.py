from shared.testset.clips import Clip, ClipSet, FailedClip
from shared.testset.evaluation import MAX_CLIP_SECONDS, Evaluation, ScoredClip, as_csv, as_jsonl, evaluate
from shared.testset.hub_reader import hub_clips
from shared.testset.zip_reader import zip_clips

__all__ = [
    "MAX_CLIP_SECONDS", "Clip", "ClipSet", "Evaluation", "FailedClip", "ScoredClip", "as_csv", "as_jsonl", "evaluate",
    "hub_clips", "zip_clips",
]
