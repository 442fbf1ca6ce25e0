"""What the commands of this package share: their arguments, and where the stages run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from feature_pipeline.config import Config, load
from feature_pipeline.stages import Runner


def arguments_of(program: str, about: str, words: Sequence[str] | None) -> argparse.Namespace:
    """The words of a command line: `config`, `override` and `on`."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    parser.add_argument("config", help="a YAML file, for example feature_pipeline/configs/asterisk-it.yaml")
    parser.add_argument("override", nargs="*", help="key=value, for example clean.max_seconds=20 or out=/data/x")
    parser.add_argument("--on", choices=("here", "ray"), default="here", help="this machine's cores, or a Ray cluster")
    return parser.parse_args(words)


def chosen(given: argparse.Namespace) -> tuple[Config, Runner | None]:
    """The config, and what runs the stages: None for this machine's cores. Raises UserError."""
    config = load(given.config, given.override)
    if given.on == "here":
        return config, None
    from feature_pipeline.on_ray import run_on_ray

    return config, run_on_ray
