"""Fixtures of all tests, and which of them share a worker.

The Hub's come first: they must be set up before anything imports its client.
"""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker per core, so one thread each; before anything imports torch
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hub_fixtures import hub
from link_world import encoded, media

__all__ = ["base", "base_torch", "encoded", "hub", "media"]

# Files that use the running app go together: two groups, so that each of two workers starts it once.
SHARED = {"test_ui.py": "calls", "test_ui_api.py": "calls", "test_tools.py": "calls", "test_tools_docs.py": "calls",
          "test_browser.py": "calls",
          "test_browser_pages.py": "looks", "test_browser_live.py": "looks"}
# What takes longest begins first, so that no worker ends long after the other.
LONGEST = ("calls", "looks", "test_training_run.py", "test_live.py", "test_ui_compare.py", "test_pipeline_ray.py",
           "test_link_youtube.py", "test_training_results.py")


def group(name: str) -> str:
    """What goes to one worker: a file, whose module fixtures are then made once, or the files that share an app."""
    return SHARED.get(name, name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(name) if (name := group(item.path.name)) in LONGEST else len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from xdist.scheduler import LoadFileScheduling

    class ByGroup(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid.split("::")[0].rsplit("/")[-1])

    return ByGroup(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def base():
    """The embedded whisper-base on CTranslate2, int8."""
    from shared.checkpoint import Checkpoint
    from shared.inference import Transcriber

    return Transcriber(Checkpoint.parse("embedded:whisper-base"), engine="ctranslate2", device="cpu")


@pytest.fixture(scope="session")
def base_torch():
    """The same weights on torch, float32."""
    from shared.checkpoint import Checkpoint
    from shared.inference import Transcriber

    return Transcriber(Checkpoint.parse("embedded:whisper-base"), engine="torch", device="cpu",
                       compute_type="float32")
