"""python -m training.languages RECIPE [key=value ...]: each language of a recipe built, trained, compared; one table.

Started again it goes on where it was. Exit code 1 where a language failed; the others are done then.
"""

from __future__ import annotations

import argparse
import sys

from shared.system.command import DONE, SOME_FAILED, ended_by_signals, reported
from training.languages import load, table, work


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.languages",
                                     description="Fine-tune Whisper for each of many languages.")
    parser.add_argument("recipe", help="a YAML file, for example training/configs/languages.yaml")
    parser.add_argument("options", nargs="*", metavar="key=value", help="for example languages=[da,el]")
    given = parser.parse_args(arguments)

    def done() -> int:
        recipe = load(given.recipe, given.options)
        found = work(recipe)
        print(f"\n{table(recipe, found)}\n{(recipe.folder / 'table.md').absolute()}")
        return DONE if all(outcome.done for outcome in found) else SOME_FAILED

    with ended_by_signals():
        return reported("training.languages", done)


if __name__ == "__main__":
    sys.exit(main())
