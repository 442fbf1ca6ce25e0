from shared.engines.engine import (
    BIASED,
    DEFAULT_COMPUTE,
    ENGINES,
    UNBIASED,
    Bias,
    Decoded,
    Engine,
    EnginePlan,
    plan_engine,
)

__all__ = [
    "BIASED",
    "DEFAULT_COMPUTE",
    "ENGINES",
    "UNBIASED",
    "Bias",
    "Decoded",
    "Engine",
    "EnginePlan",
    "plan_engine",
]
