from shared.engines.engine import DEFAULT_COMPUTE, ENGINES, Decoded, Engine, EnginePlan, load_engine, plan_engine

__all__ = [
    "DEFAULT_COMPUTE",
    "ENGINES",
    "Decoded",
    "Engine",
    "EnginePlan",
    "load_engine",
    "plan_engine",
]
