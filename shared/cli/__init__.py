from shared.cli.entry import main

__all__ = ["main"]
