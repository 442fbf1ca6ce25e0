from shared.engines.engine import DEFAULT_COMPUTE, ENGINES, Decoded, Engine, load_engine

__all__ = [
    "DEFAULT_COMPUTE",
    "ENGINES",
    "Decoded",
    "Engine",
    "load_engine",
]
