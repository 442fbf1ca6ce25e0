from shared.checkpoint import BASE, FINE_TUNED
from shared.serving.answering import Serving, ServingInBackground, kind_of
from shared.serving.choice import refusal
from shared.serving.pair import describe_engine
from shared.serving.process import serving, unload_minutes
from shared.serving.request import Answer, Limits, Request
from shared.serving.zero_gpu import ON_ZERO_GPU

__all__ = [
    "BASE",
    "FINE_TUNED",
    "ON_ZERO_GPU",
    "Answer",
    "Limits",
    "Request",
    "Serving",
    "ServingInBackground",
    "describe_engine",
    "kind_of",
    "refusal",
    "serving",
    "unload_minutes",
]
