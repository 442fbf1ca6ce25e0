"""docs/agents.md and docs/api.md: what the code says, and examples that run as they stand against a running app."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import httpx
import pytest
from paths import DATA, ROOT
from running_app import running_app

from shared.ui.tools.document import ADDRESS, agents_page, main, pages

EXAMPLE = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = sorted({(kind, code) for text in pages().values() for kind, code in EXAMPLE.findall(text)})


def test_the_pages_are_what_the_code_says():
    assert main(["--check"]) == 0, "run `make tools`"


def test_a_page_that_is_not_is_named(monkeypatch, tmp_path, capsys):
    (tmp_path / "api.md").write_text((ROOT / "docs" / "api.md").read_text().replace("1 to 10", "1 to 11"))
    monkeypatch.setattr("shared.ui.tools.document.DOCS", tmp_path)
    assert main(["--check"]) == 1 and "api.md" in capsys.readouterr().out
    assert main([]) == 0 and main(["--check"]) == 0
    assert (tmp_path / "api.md").read_text() == (ROOT / "docs" / "api.md").read_text()


def test_the_app_gives_its_page_with_its_address():
    address = running_app().address
    answer = httpx.get(f"{address}/agents.md")
    assert answer.headers["content-type"].startswith("text/markdown") and answer.text == agents_page(address)


@pytest.mark.parametrize(("kind", "code"), EXAMPLES, ids=[code.split("\n")[0][:40] for _, code in EXAMPLES])
def test_an_example_runs(kind, code, tmp_path):
    shutil.copy(DATA / "it_vm-mailboxfull.flac", tmp_path / "speech.flac")
    code = code.replace(ADDRESS, running_app().address)
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-ec", code]
    if kind == "bash" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "casella di posta" in done.stdout or "speech.flac" in done.stdout, done.stdout


def test_there_are_examples_of_each_way():
    found = "".join(code for _, code in EXAMPLES)
    for way in ("gradio_client", "call_tool", "/v1/audio/transcriptions", "/gradio_api/upload"):
        assert way in found
