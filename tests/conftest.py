"""Fixtures of all tests. The Hub's come first: they must be set up before anything imports its client."""

import pytest
from hub_fixtures import hub
from link_world import encoded, media

__all__ = ["base", "base_torch", "encoded", "hub", "media"]


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
