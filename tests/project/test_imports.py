"""The rules of the house that a machine can check: who may import whom, and nothing that shadows `spaces`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from shared.checkpoint import configured
from shared.serving import ServingInBackground

OURS = {"shared", "feature_pipeline", "training"}
MAY_IMPORT = {"shared": {"shared"}, "feature_pipeline": {"feature_pipeline", "shared"},
              "training": {"training", "feature_pipeline", "shared"}, "spaces": {"shared"}}
# Where `training` is installed the suite has a page that trains; a Space has no such package, and looks for it first.
# The page without a server is bundled with a checkpoint that `training` converts; it says so where that is missing.
EXCEPT = {"spaces/suite/app.py": {"training"}, "spaces/browser_bundle.py": {"training"}}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found & OURS


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    names = {path: path.relative_to(ROOT).as_posix() for path in files}
    wrong = {name: extra for path, name in names.items()
             if (extra := imported(path) - MAY_IMPORT[package] - EXCEPT.get(name, set()))}
    assert wrong == {}


def test_the_spaces_folder_shadows_nothing():
    assert not list((ROOT / "spaces").rglob("__init__.py"))
    import spaces

    assert "site-packages" in spaces.__file__ and callable(spaces.GPU)


LEVELS = {
    **dict.fromkeys(("charts", "errors", "languages", "lexicon", "options", "system", "tables", "transcript",
                     "units", "wer", "whisper_constants"), 0),
    **dict.fromkeys(("audio", "checkpoint"), 1),
    **dict.fromkeys(("engines", "diarization", "testset", "link"), 2),
    **dict.fromkeys(("inference",), 3),
    **dict.fromkeys(("live", "serving"), 4),
    **dict.fromkeys(("api",), 5),
    **dict.fromkeys(("cli", "ui"), 6),
}
WITHIN = {  # the order within the lowest level
    ("wer", "languages"), ("transcript", "units"), ("options", "lexicon"),
    ("lexicon", "languages"), ("lexicon", "units"),
    *((name, "errors") for name in ("languages", "lexicon", "options", "system", "tables", "units")),
}


def imports_within_shared():
    """(file, entry of `shared` it is in, entry it imports), for each import from one entry to another."""
    for path in sorted((ROOT / "shared").rglob("*.py")):
        source = path.relative_to(ROOT / "shared").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "shared":
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared."):
                targets = [node.module.split(".")[1]]
            elif isinstance(node, ast.Import):
                targets = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("shared.")]
            else:
                targets = []
            yield from ((path, source, target) for target in targets if target != source)


def test_imports_within_shared_go_down():
    found = list(imports_within_shared())
    assert len(found) > 40
    wrong = [f"{path.relative_to(ROOT)}: {source} may not import {target}" for path, source, target in found
             if LEVELS[target] >= LEVELS[source] and (source, target) not in WITHIN]
    assert wrong == []


def test_every_entry_of_shared_has_a_level():
    entries = {path.name.removesuffix(".py") for path in (ROOT / "shared").iterdir()
               if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    assert entries <= set(LEVELS)


DOORS = sorted({path.parent.name for path in (ROOT / "shared").glob("*/__init__.py")} - {"ui"})


@pytest.mark.parametrize("door", DOORS)
def test_a_door_defines_nothing(door):
    text = (ROOT / "shared" / door / "__init__.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 45  # one name a line, as ruff lays it out
    kinds = {type(node).__name__ for node in ast.parse(text).body}
    assert kinds <= {"Expr", "ImportFrom", "Assign"}


@pytest.mark.parametrize("door", ["shared.wer", "shared.transcript", "shared.audio", "shared.checkpoint",
                                  "shared.engines", "shared.link", "shared.serving", "shared.cli",
                                  "shared.cli.options"])
def test_light_doors_import_no_heavy_library(door):
    code = f"import sys, {door}; print(sorted({{'torch', 'transformers', 'gradio', 'spaces'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_page_waits_for_no_weights_and_no_torch():
    """From the checkpoints that are there already to a built app: what is heavy comes behind the first page."""
    code = ("import sys\nfrom shared.serving import Limits, serving\nfrom shared.ui.pages.suite import NAME, PAGES\n"
            "from shared.ui.server.launch import build\nserved = serving(Limits())\nbuild(NAME, PAGES, served)\n"
            "print(served.is_loaded, sorted({'torch', 'transformers', 'ctranslate2', 'datasets'} & set(sys.modules)))")
    ServingInBackground(*configured())  # the first start joins the adapter, with torch
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False []"


def test_every_folder_with_code_is_a_package():
    """A folder without __init__.py works in place and is missing from a wheel."""
    there = {path.parent for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert [str(folder) for folder in sorted(there) if not (folder / "__init__.py").is_file()] == []
