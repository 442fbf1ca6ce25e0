"""What must be right before a Space is sent to the Hub: its name, and how many the account may host.

Enters: the Hub's client and the names wanted. Leaves: what will be made and what will be changed, or a UserError.
Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from shared.errors import UserError

FREE_SPACES = 2  # that a free account can host beside static ones: docs/apps.md
SDKS = {"browser": "static"}  # of the apps that are not made with Gradio


@dataclass(frozen=True)
class Target:
    """A Space that is to be. exists: it is there already, and is changed. sdk: gradio or static."""

    app: str
    repo_id: str
    exists: bool
    sdk: str


def targets(api: HfApi, owner: str, prefix: str, apps: list[str], *, free: bool) -> list[Target]:
    """The Spaces wanted, each looked up. free: the account may host FREE_SPACES.

    Raises:
        UserError: a name is not valid or belongs to a Space of another kind, or the account may not host so many.
    """
    found = [_target(api, app, f"{owner}/{prefix}{app}") for app in apps]
    new = [one.repo_id for one in found if not one.exists and one.sdk != "static"]
    there = [space.id for space in api.list_spaces(author=owner) if space.sdk != "static"] if free and new else []
    if free and new and len(there) + len(new) > FREE_SPACES:
        raise UserError("A free account cannot host so many Spaces",
                        got=f"{len(new)} new ({', '.join(new)}) beside {len(there)} ({', '.join(there) or 'none'})",
                        limit=FREE_SPACES, hint="choose fewer (the suite has all pages), delete one, or say "
                        "--more-spaces where the account may host more")
    return found


def _target(api: HfApi, app: str, repo_id: str) -> Target:
    sdk = SDKS.get(app, "gradio")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError("This is no name for a Space", got=repo_id,
                        hint="choose another --prefix or --owner") from error
    try:
        info = api.space_info(repo_id)
    except RepositoryNotFoundError:
        return Target(app, repo_id, exists=False, sdk=sdk)
    if info.sdk not in (None, sdk):
        raise UserError("There is a Space of another kind under this name", got=f"{repo_id}, made with {info.sdk}",
                        limit=sdk, hint="choose another --prefix, or delete that Space")
    return Target(app, repo_id, exists=True, sdk=sdk)
