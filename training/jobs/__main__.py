"""python -m training.jobs CONFIG [key=value ...]: training.finetune on a rented GPU, followed to its end.

Says what it will send and what it may cost, and asks. The same command again goes on from the last checkpoint, watches
a job that runs, or fetches a run that is done.
"""

from __future__ import annotations

import argparse
import sys

from shared.errors import UserError
from shared.system.command import reported
from training.jobs import Options, train


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.jobs",
                                     description="Fine-tune Whisper in a job on Hugging Face.")
    parser.add_argument("config", help="a YAML file, for example training/configs/italian-lora.yaml")
    parser.add_argument("options", nargs="*", metavar="key=value", help="for example steps.precision=fp16")
    parser.add_argument("--flavor", default=Options.flavor, help="the machine: t4-small, l4x1, a10g-small …")
    parser.add_argument("--hours", type=float, default=Options.hours, help="the job is ended after so long")
    parser.add_argument("--owner", help="user or organisation that pays; the token's user if not given")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    given = parser.parse_args(arguments)

    def ask() -> None:
        if given.yes:
            return
        if not sys.stdin.isatty():
            raise UserError("Nobody is there to be asked", hint="say --yes to do what is written above")
        if input("Start the job? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("No job was started", got="no", hint="run it again to go on")

    def work() -> None:
        options = Options(flavor=given.flavor, hours=given.hours, owner=given.owner)
        train(given.config, given.options, options, agreed=ask, say=lambda line: print(line, flush=True))

    return reported("training.jobs", work)


if __name__ == "__main__":
    sys.exit(main())
