"""Visitors who sign in at the Hub, so that their own checkpoints can be read with their token.

Gradio does it (`gr.LoginButton`) where the Space's card says `hf_oauth: true`: the Hub then gives the app a client id.
Who is signed in stands in a cookie that this app signed; a program's call has none.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from shared.checkpoint import Account

ANY = "*"  # in ALLOWED_CHECKPOINTS: whatever a visitor's own account may read
# Parameters of a handler that Gradio fills in, None where nobody is signed in.
PARAMETERS: dict[str, Any] = {"profile": gr.OAuthProfile | None, "token": gr.OAuthToken | None}
NEEDED = ("authlib", "itsdangerous")  # by Gradio, which a Space has; elsewhere `pip install "gradio[oauth]"`


@functools.cache
def is_offered() -> bool:
    """Whether this is a Space where visitors can sign in, and its owner lets them name checkpoints of their own."""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID")
                and ANY in os.environ.get("ALLOWED_CHECKPOINTS", "").replace(",", " ").split()
                and all(map(importlib.util.find_spec, NEEDED)))


def account_of(request: gr.Request, profile: gr.OAuthProfile | None, token: gr.OAuthToken | None) -> Account | None:
    """Who is signed in, by the two that Gradio gives. Both come from the cookie: a token alone names nobody.

    A browser sends the cookie also with what a page of another site asks for here; such a page uses the app as a
    stranger does, or it could use and read what only its reader may.
    """
    if profile is None or token is None or not _is_from_own_page(request.headers):
        return None
    return Account(profile.username, token.token)


def _is_from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of this app, or from a program, which says nothing of pages."""
    own = {headers.get("host", ""), *os.environ.get("SPACE_HOST", "").split(",")}
    origin = headers.get("origin")
    return (headers.get("sec-fetch-site") in (None, "same-origin", "none")
            and (origin is None or urlsplit(origin).netloc in own - {""}))


def button() -> None:
    """Rendered where visitors may sign in: the button, and what it is for."""
    if not is_offered():
        return
    gr.LoginButton("Sign in with Hugging Face", "Sign out ({})", size="md")
    gr.HTML('<p class="hint">Then name a private checkpoint of yours by its Hub id. It is read with your token, '
            "answers nobody else, and is deleted a quarter of an hour after its last use.</p>")
