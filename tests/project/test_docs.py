"""Every command of README and the docs is one that there is: its program, options, settings, files and targets.

A command that cannot be checked has `<!-- not run: reason -->` on the line before its block. Commands that a test runs
from beginning to end (docs/features.md, docs/your-language.md) have `<!-- test … -->` there, and are checked here too.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dictionaries import write_dictionary
from paths import ROOT
from test_imports import LEVELS

from feature_pipeline import config as features
from feature_pipeline.settings import options_of
from shared.cli import cache
from shared.cli import options as command_line
from training import config as recipes

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
         *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"accelerate", "cd", "cp", "ffmpeg", "git", "hf", "pre-commit", "torchrun"}  # not ours: nothing is checked
PROGRAMS = {*ELSEWHERE, "make", "pip", "python", "python3", "transcribe"}
INLINE = re.compile(r"(python3? -m|transcribe|make) \S")


@dataclass(frozen=True)
class Command:
    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def lines(text: str) -> Iterator[str]:
    """The lines of indented and of bash blocks, and code in the text that begins as a command does."""
    fence, skipped, before = "", False, ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("```"):
            fence = "" if fence else line.removeprefix("```") or "text"
        elif fence in ("bash", "sh", "console") or (not fence and line.startswith("    ")):
            skipped = skipped if before.startswith("    ") else before.startswith("<!-- not run:")
            if not skipped:
                yield line.strip().removeprefix("$ ")
        elif not fence:
            yield from (code for code in re.findall(r"`([^`]+)`", line) if INLINE.match(code))
        before = line


def commands() -> Iterator[Command]:
    for page in PAGES:
        for line in lines(page.read_text(encoding="utf-8")):
            for part in re.split(r"\s+(?:&&|\|)\s+", re.sub(r" \[[A-Z]\]", "", line.replace("…", "ID"))):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:
                    continue  # prose in a picture
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words.pop(0)
                program = Path(words[0]).name if words else ""
                if program in PROGRAMS:
                    yield Command(page.relative_to(ROOT).as_posix(), (program, *words[1:]))


COMMANDS = list(dict.fromkeys(commands()))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_enough_commands_were_found():
    assert len(COMMANDS) > 60
    assert {command.words[0] for command in COMMANDS} > {"make", "python", "transcribe", "pip"}


@pytest.fixture
def dictionaries(tmp_path, monkeypatch) -> None:
    """As if `apt install hunspell-sv` had been run."""
    write_dictionary(tmp_path, "sv_SE", ["ord"])
    monkeypatch.setenv("DICPATH", str(tmp_path))


@pytest.mark.usefixtures("dictionaries")
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_there_is(command):
    program, *arguments = command.words
    if program == "make":
        made(arguments)
    elif program == "pip":
        installed(arguments)
    elif program == "transcribe":
        transcribed(arguments)
    elif program in ("python", "python3"):
        ran(arguments)
    else:
        assert program in ELSEWHERE


def made(arguments: list[str]) -> None:
    for word in arguments:
        name, is_setting, value = word.partition("=")
        if is_setting:
            assert re.search(rf"\b{name}\b", MAKEFILE), f"make knows no {name}"
            exists(value)
        else:
            assert re.search(rf"^{re.escape(word)}:", MAKEFILE, re.MULTILINE), f"make has no target {word}"


def installed(arguments: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in arguments:
        if match := re.fullmatch(r"\.\[(.+)\]", word):
            assert set(match[1].split(",")) <= extras.keys()
        assert word != "-r", "there is one list of requirements, and it is installed with the project"


def transcribed(arguments: list[str]) -> None:
    if arguments and arguments[0] == "live":
        command_line.live_request(arguments[1:])
    elif arguments and arguments[0] == "serve":
        command_line.serve_request(arguments[1:])
    elif arguments and arguments[0] == "cache":
        cache.request(arguments[1:])
    elif not {"--help", "--version"} & {*arguments}:
        command_line.request(arguments)


def ran(arguments: list[str]) -> None:
    if arguments[:1] == ["-m"]:
        module, rest = arguments[1], arguments[2:]
        if module in ("venv", "pip", "pytest"):
            return
        if module == "shared.ui":
            assert importlib.util.find_spec("shared.ui.__main__") and not rest
            return
        assert offered(module) >= options_in(rest)
        settings(module, rest)
    elif arguments:
        script = arguments[0]
        if script == "app.py":
            return
        exists(script)
        assert offered(script) >= options_in(arguments[1:])
    for word in arguments:
        exists(word)


def options_in(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1}


@functools.cache
def offered(name: str) -> set[str]:
    """The options that a module or script names when it is asked for help, in this process."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown), pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [name, "--help"])
        if name.endswith(".py"):
            patch.syspath_prepend(str((ROOT / name).parent))
            runpy.run_path(str(ROOT / name), run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__")
    assert not ended.value.code, shown.getvalue()
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown.getvalue()))


def settings(module: str, words: list[str]) -> None:
    """key=value words are read by what reads them when the command runs."""
    given = [word for word in words if re.match(r"[a-z][\w.]*=", word) and not word.startswith("verdicts=")]
    config = next((word for word in words if word.endswith(".yaml")), None)
    if module.startswith("feature_pipeline.") and config:
        features.load(ROOT / config, given)
    elif module in ("training.finetune", "benchmarks.ablation", "benchmarks.training_speed") and config:
        recipes.load(ROOT / config, given)
    elif module in ("training.evaluation", "training.export", "training.soup"):
        options_of(importlib.import_module(module).Options, given)


def exists(word: str) -> None:
    """Configs, scripts and data of the repository that a command names."""
    if re.fullmatch(r"(feature_pipeline|training|spaces|benchmarks|tests|docs|shared)/[\w/.-]+", word):
        assert (ROOT / word).exists(), f"there is no {word}"


FOLDERS = "docs|shared|tests|benchmarks|training|feature_pipeline|spaces"
LINK = re.compile(rf"\]\(([^)#:]+)(?:#[^)]*)?\)|`((?:{FOLDERS})/[\w/.-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_points_to_is_there(page):
    """Links and paths; below docs/ a path may also be told from there."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link, path in LINK.findall(text):
        target = link or path
        assert (page.parent / target).exists() or (ROOT / target).exists(), f"{page.name} points to {target}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    names = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in names if f"({name})" not in index} == set()


def test_architecture_names_every_package_at_its_level():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.+) \|$", text, re.MULTILINE)
    named = {(name, int(level)) for level, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert {item for item in named if item[0] in LEVELS} == set(LEVELS.items())


def test_the_benchmarks_page_names_every_benchmark():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_in_a_page_parses_and_imports_names_that_there_are(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
