"""Writing to the Hugging Face Hub: whose token it is, what it may do, and what the client's errors mean to a person.

Spaces, models, data sets and jobs ask here before they send anything. Enters: the Hub's client. Leaves: an owner, or a
UserError. Knows nothing of what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from shared.errors import UserError

TOKENS = "https://huggingface.co/settings/tokens"
MAKE_TOKEN = f"make one with the write role at {TOKENS}, then set HF_TOKEN or run `hf auth login`"
AGAIN = "check the network and https://status.huggingface.co, then run this again"
HINTS = {
    401: "the token is not valid or may not do this: set HF_TOKEN to another, or run `hf auth login --force`",
    402: "the account has no credit or no plan for this: choose other hardware, or see "
         "https://huggingface.co/settings/billing",
    403: "use a token with the write role, and an owner whose repositories it may change",
}


@dataclass(frozen=True)
class Owner:
    """Whose what is sent will be: a user or an organisation. is_free: a user without a paid plan."""

    name: str
    is_free: bool


def owner_of(api: HfApi, name: str | None = None) -> Owner:
    """The owner, if this machine's token may write for it. name: as it was asked for; None: the token's own user.

    Raises UserError: there is no token, it may only read, or it is for other owners.
    """
    if not get_token():
        raise UserError("This needs a Hugging Face token", got="none", hint=MAKE_TOKEN)
    who: dict[str, Any] = api.whoami()
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":  # a fine-grained one is judged when it is used
        raise UserError("This Hugging Face token may only read", got="the role read", hint=MAKE_TOKEN)
    owners = [who["name"], *(org["name"] for org in who.get("orgs", ()))]
    name = name or owners[0]
    if name not in owners:
        raise UserError("This token may not write there", got=name, limit=", ".join(owners),
                        hint="choose one of those as the owner, or use a token of that account")
    return Owner(name, name == owners[0] and not who.get("isPro"))


@contextmanager
def explained(doing: str, hint: str = AGAIN, invalid: str = "correct the name") -> Iterator[None]:
    """Turn the client's errors within the block into one line that says what to do.

    hint: where it is neither the token nor the account. invalid: where the client itself refuses what it was given.
    """
    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, LocalTokenNotFoundError, ConnectionError, RuntimeError,
            ValueError) as error:
        # Where several files are sent, the client wraps what the Hub answered.
        cause = error if isinstance(error, HfHubHTTPError) or error.__cause__ is None else error.__cause__
        if isinstance(error, LocalTokenNotFoundError):
            hint = MAKE_TOKEN
        elif isinstance(cause, HfHubHTTPError):
            hint = HINTS.get(cause.response.status_code, hint)
        elif isinstance(error, ValueError):
            hint = invalid
        raise UserError(f"The Hub refused or could not be reached while {doing}",
                        got=" ".join(str(cause).split())[:400], hint=hint) from error
