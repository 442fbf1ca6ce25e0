"""A visitor's own private checkpoint: read with their token, used by them alone, gone when it is not used any more."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from huggingface_hub.constants import HF_HUB_CACHE
from speech import clips

from shared.checkpoint import MODELS, Account, Checkpoint
from shared.errors import UserError
from shared.options import Options
from shared.serving import Limits, Request, Serving, loaded
from shared.serving.loaded import LOADED, key_of
from shared.system.cache import cache_folder
from shared.system.temporary import temporary_root
from shared.wer import word_errors

CLIP = clips("it")[0]
MINE, PUBLIC = "outsider/private-adapter", "outsider/public-adapter"


@pytest.fixture(scope="module")
def space() -> Serving:
    """As on a Space where visitors may sign in; its owner, whose token this machine has, is another user."""
    return Serving("embedded:whisper-base", "embedded:whisper-base-it",
                   limits=Limits(allowed=("owner/listed",), signed_in=True))


@pytest.fixture
def visitor(hub) -> Account:
    """Who alone may read MINE."""
    hub.add("model", MINE, MODELS / "whisper-base-it", private=True)
    return Account("outsider", hub.outsider_token)


def folders() -> set[Path]:
    return set(temporary_root().glob("account-*"))


def askers(hub, repo: str) -> set[str | None]:
    """Whose token came with each request; a signed address of the storage needs none."""
    return {entry.user for entry in hub.requests if repo in entry.path and not entry.path.startswith("/cdn/")}


def test_a_visitors_own_checkpoint_answers_them_alone(hub, space, visitor):
    before = {path.name for path in cache_folder().glob("*")}
    request = Request(CLIP.path, Options(language="it"), checkpoint=MINE, account=visitor)
    answer = space.transcribe(request)
    assert answer.checkpoint.model_id == MINE and answer.checkpoint.revision
    assert word_errors(CLIP.text, answer.transcript.text, "it").wer < 0.3
    assert askers(hub, MINE) == {"outsider"}, "the owner's token was never sent for it"
    assert {path.name for path in cache_folder().glob("*")} == before, "nothing of it is in the cache that all share"
    assert not list(Path(HF_HUB_CACHE).glob("*private-adapter*"))
    hub.requests.clear()
    pinned = str(answer.checkpoint)
    strangers = (None, Account("stranger", "hf_no_such_token"), Account("tester", hub.token))
    for name in (MINE, pinned):
        for other in strangers:  # loaded by now, which helps nobody else
            with pytest.raises(UserError, match=r"may not be loaded here|may not read it|sign out"):
                space.transcribe(Request(CLIP.path, Options(language="it"), checkpoint=name, account=other))
    found = space.transcriber(answer.checkpoint, account=visitor)
    assert key_of(found)[0] == "outsider" and found.account == visitor
    assert hub.downloads(MINE) == [], "it was not fetched again"
    assert space.transcriber(answer.checkpoint, account=Account("outsider", "a newer token")) is found
    del found
    assert len(folders()) == 1
    assert space.forget_private(idle_seconds=3600) == 0 and len(folders()) == 1
    assert space.forget_private() == 1 and folders() == set()
    assert all(one.account is None for one in LOADED.each())


def test_what_cannot_be_read_leaves_nothing(hub, space, visitor):
    hub.add("model", MINE, {"adapter_model.safetensors": b"cut off"}, private=True)
    for name, why in ((MINE, "damaged|cut off|whole"), ("outsider/nothing", "no such model"), ("/etc", "no checkpoint"),
                      (str(MODELS / "whisper-base-it"), "no checkpoint")):
        with pytest.raises(UserError, match=why):
            space.transcribe(Request(CLIP.path, checkpoint=name, account=visitor))
    gc.collect()
    assert folders() == set()


def test_a_token_is_not_shown(visitor):
    request = Request(CLIP.path, account=visitor)
    assert visitor.token not in f"{visitor} {request} {Checkpoint(MINE)}"


@pytest.mark.slow
def test_the_files_of_one_go_when_another_takes_its_place(hub, space, visitor, monkeypatch):
    monkeypatch.setattr(loaded, "MAX_EXTRA", 1)
    first = space.transcriber(Checkpoint(MINE), account=visitor)
    space.transcriber(Checkpoint(MINE, hub.add("model", MINE, {"note.txt": b"new"}, private=True)), account=visitor)
    assert first.transcribe(CLIP.path, language="it").text and len(folders()) == 2  # work that has it goes on
    del first
    gc.collect()
    assert len(folders()) == 1
    space.forget_private()
    assert folders() == set()
