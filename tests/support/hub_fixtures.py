"""The Hub of the test run: a local server, named by HF_ENDPOINT before anything imports the client.

So code under test reaches it exactly as it reaches the real one, and nothing in a test run can reach the real one.
conftest.py imports this module first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if "huggingface_hub" in sys.modules:
    raise RuntimeError("conftest.py must import hub_fixtures before anything that imports huggingface_hub")

from hub_server import HubServer, environment

_HUB = HubServer().start()
_HOME = tempfile.mkdtemp(prefix="hub-home-")
os.environ.update({name: value for name, value in environment(_HUB, _HOME).items() if name.startswith("HF_")})
os.environ.pop("HF_TOKEN", None)  # nobody is logged in unless a test says so


@atexit.register
def _clean_up() -> None:
    _HUB.stop()
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub with its owner logged in, and an empty cache, for code that runs in this process.

    For another process, or for longer than one test: a HubServer of its own and `environment`.
    """
    _HUB.reset()
    shutil.rmtree(Path(_HOME) / "hub", ignore_errors=True)
    monkeypatch.setenv("HF_TOKEN", _HUB.token)
    yield _HUB
    _HUB.reset()
