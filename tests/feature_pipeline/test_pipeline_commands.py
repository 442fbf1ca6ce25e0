"""The parts of the pipeline and training as a whole: no circle of imports, one way for commands to end."""

from __future__ import annotations

import ast
import graphlib
import importlib

import pytest
from paths import ROOT


@pytest.mark.parametrize("package", ["feature_pipeline", "training"])
def test_no_modules_import_each_other_in_a_circle(package):
    graph: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                modules = {one for one in inner if (ROOT / f"{one.replace('.', '/')}.py").is_file()}
                graph.setdefault(name, set()).update(modules or {str(node.module)})
    assert len(graph) > 10
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(("module", "words"), [
    ("feature_pipeline.build", ["nowhere.yaml"]),
    ("feature_pipeline.transcribe", ["nowhere.yaml"]),
    ("training.finetune", ["nowhere.yaml"]),
    ("training.evaluation", ["nowhere", "splitt=test"]),
    ("training.export", ["nowhere", "formz=x"]),
    ("training.soup", ["out", "nowhere", "also-nowhere"]),
    ("training.publish", ["nowhere", "me/it"]),
])
def test_what_a_person_can_put_right_is_one_line_and_exit_code_2(module, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert importlib.import_module(module).main(words) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"{module}: ") and message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
