"""The rules of the house that a machine can check: who may import whom, and nothing that shadows `spaces`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"shared", "feature_pipeline", "training"}
MAY_IMPORT = {"shared": {"shared"}, "feature_pipeline": {"feature_pipeline", "shared"},
              "training": {"training", "feature_pipeline", "shared"}, "spaces": {"shared"}}


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
    wrong = {str(path.relative_to(ROOT)): extra for path in files if (extra := imported(path) - MAY_IMPORT[package])}
    assert wrong == {}


def test_the_spaces_folder_shadows_nothing():
    assert not list((ROOT / "spaces").rglob("__init__.py"))
    import spaces

    assert "site-packages" in spaces.__file__ and callable(spaces.GPU)


def test_every_package_is_installed():
    """A folder with code that pyproject.toml does not list works in place and is missing from a wheel."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert there == listed
