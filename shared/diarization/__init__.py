from shared.diarization.diarizer import Diarizer, Turn
from shared.diarization.labels import label
from shared.diarization.networks import EMBEDDING, MEAN, MODELS, SEGMENTATION

__all__ = [
    "EMBEDDING",
    "MEAN",
    "MODELS",
    "SEGMENTATION",
    "Diarizer",
    "Turn",
    "label",
]
