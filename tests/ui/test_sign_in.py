"""The pages as on a Space where visitors sign in: a process of its own, with the session cookies that Gradio signs.

What the Hub's own sign-in page does is not here: its outcome, a signed cookie, is made with the app's secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from app_process import serving
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from hub_routes import User
from hub_server import HubServer, environment
from page_client import PageClient
from paths import ROOT
from speech import clips

from shared.checkpoint import MODELS

itsdangerous = pytest.importorskip("itsdangerous", reason="SKIPPED: pip install -e '.[test]'")
pytest.importorskip("authlib", reason="SKIPPED: pip install -e '.[test]'")
pytestmark = pytest.mark.slow

CLIP, MINE, SECRET = clips("it")[0], "visitor/private-adapter", "the app's secret"
VISITOR, STRANGER = "hf_of_the_visitor", "hf_of_another"
HOW = ["it", "auto", 1, 0.5, "", "", "", MINE]  # CompareHow.VALUES


def cookie(name: str, token: str, secret: str = SECRET) -> dict[str, str]:
    """What a browser sends once its user is signed in."""
    info = {"access_token": token, "scope": "openid profile read-repos", "expires_at": int(time.time()) + 3600,
            "userinfo": {"sub": name, "name": name, "preferred_username": name, "profile": "", "picture": ""}}
    signer = itsdangerous.TimestampSigner(hashlib.sha256(f"{secret}-v4".encode()).hexdigest())
    return {"cookie": f"session={signer.sign(base64.b64encode(json.dumps({'oauth_info': info}).encode())).decode()}"}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.users |= {VISITOR: User("visitor", owners=("visitor",)), STRANGER: User("another", owners=("another",))}
        server.add("model", MINE, MODELS / "whisper-base-it", private=True)
        yield server


@pytest.fixture(scope="module")
def address(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the compare page, as on a Space whose owner's token the machine has."""
    more = {"SPACE_ID": "tester/compare", "SYSTEM": "spaces", "BASE": "embedded:whisper-base",
            "FINE_TUNED": "embedded:whisper-base-it", "ALLOWED_CHECKPOINTS": "*", "PYTHONPATH": str(ROOT),
            "OAUTH_CLIENT_ID": "an id", "OAUTH_CLIENT_SECRET": SECRET, "OAUTH_SCOPES": "openid profile read-repos",
            "OPENID_PROVIDER_URL": hub.endpoint}
    with serving(Path(sys.executable), ROOT / "spaces" / "compare",
                 environment(hub, tmp_path_factory.mktemp("home"), **more)) as client:
        yield client.src.rstrip("/")


def compared(address: str, headers: dict[str, str], checkpoint: str = MINE) -> dict:
    client = PageClient(address, headers=headers, verbose=False)
    return client.predict(handle_file(CLIP.path), CLIP.text, *HOW[:-1], checkpoint, api_name="/compare_clip")[0]


def test_a_signed_in_visitor_compares_their_own_checkpoint(hub, address):
    """And nobody else does, neither before nor after."""
    strangers = [({}, "may not be loaded here.*sign in"),
                 (cookie("another", STRANGER), "your account may not read it"),
                 (cookie("visitor", VISITOR, "not the app's secret"), "may not be loaded here"),
                 # What the visitor's browser sends for a page of another site.
                 ({**cookie("visitor", VISITOR), "origin": "https://other.example"}, "may not be loaded here"),
                 ({**cookie("visitor", VISITOR), "sec-fetch-site": "cross-site"}, "may not be loaded here")]
    for _ in range(2):
        for headers, why in strangers:
            with pytest.raises(AppError, match=why):
                compared(address, headers)
        found = compared(address, {**cookie("visitor", VISITOR), "origin": address, "sec-fetch-site": "same-origin"})
        assert found["sides"][1]["checkpoint"].startswith(MINE) and found["sides"][1]["text"]
        with pytest.raises(AppError, match="may not be loaded here"):
            compared(address, {}, found["sides"][1]["checkpoint"])
    asked = {(entry.user, entry.status) for entry in hub.requests
             if MINE in entry.path and not entry.path.startswith("/cdn/")}  # a signed address needs no token
    assert {user for user, _ in asked} == {"visitor", "another"}, "never the owner's token, nor nobody's"
    assert {status for user, status in asked if user == "another"} == {404}
    with pytest.raises(AppError, match="no checkpoint"):
        compared(address, cookie("visitor", VISITOR), "/etc")


def test_the_page_offers_it(address):
    config = httpx.get(f"{address}/config").json()
    labels = [one["props"].get("value") for one in config["components"] if one["type"] == "button"]
    assert labels.count("Sign in with Hugging Face") == 1
