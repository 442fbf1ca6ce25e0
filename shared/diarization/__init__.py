from shared.diarization.diarizer import Diarizer, Turn
from shared.diarization.labels import label
from shared.diarization.networks import EMBEDDING, MODELS, SEGMENTATION

__all__ = [
    "EMBEDDING",
    "MODELS",
    "SEGMENTATION",
    "Diarizer",
    "Turn",
    "label",
]
