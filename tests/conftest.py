"""Fixtures of all tests, and which of them share a worker.

The Hub's come first: they must be set up before anything imports its client.
"""

import functools
import os
import signal
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker per core, so one thread each; before anything imports torch
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no command that a test starts would hear Ctrl-C

from hub_fixtures import hub
from link_world import encoded, media

__all__ = ["base", "base_torch", "encoded", "hub", "media"]

# What takes longest begins first, so that no worker ends long after the other.
LONGEST = ("looks", "calls", "test_training_run.py", "test_training_languages.py", "test_live.py", "test_ui_compare.py",
           "test_inference.py", "test_pipeline_build.py", "test_cli_live.py", "test_cli.py", "test_training_model.py",
           "test_link_youtube.py", "test_ui_youtube.py", "test_openai_api.py", "test_training_soup.py",
           "test_training_results.py", "test_checkpoint.py", "test_adapter.py", "test_offline.py", "test_serving.py")


@functools.cache
def group(path: Path) -> str:
    """What goes to one worker: a file, whose module fixtures are then made once, or the files that share an app.

    The running app has two groups, those that look at its pages and those that call it: each worker starts it once.
    """
    if "from running_app import" not in path.read_text(encoding="utf-8"):
        return path.name
    return "looks" if path.name.startswith("test_browser_") else "calls"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("browser"):  # a click can meet a page that moves; the summary names each second run
            item.add_marker(pytest.mark.flaky(reruns=1))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(name) if (name := group(item.path)) in LONGEST else len(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from xdist.scheduler import LoadFileScheduling

    class ByGroup(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(config.rootpath / nodeid.split("::")[0])

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
