from shared.engines.engine import DEFAULT_COMPUTE, ENGINES, Decoded, Engine, EnginePlan, plan_engine

__all__ = [
    "DEFAULT_COMPUTE",
    "ENGINES",
    "Decoded",
    "Engine",
    "EnginePlan",
    "plan_engine",
]
