from shared.cli.files import main

__all__ = ["main"]
