"""The two exceptions a caller is meant to catch.

`UserError` is for what the person at the keyboard can put right. The apps show it as a toast, the command
line as one line on stderr. `Cancelled` says that the work was stopped on request. Anything else is a bug.
"""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """Something the person can fix: what is wrong, what we got, what the limit is, what to do.

    >>> str(UserError("The recording is too long", got="2 h 05 min", limit="1 h", hint="cut it or choose a part"))
    'The recording is too long. Got: 2 h 05 min. Limit: 1 h. What to do: cut it or choose a part.'
    """

    def __init__(self, what: str, *, got: object = None, limit: object = None, hint: str | None = None) -> None:
        self.what, self.got, self.limit, self.hint = what, got, limit, hint
        parts = [what.rstrip(".")]
        if got is not None:
            parts.append(f"Got: {got}")
        if limit is not None:
            parts.append(f"Limit: {limit}")
        if hint is not None:
            parts.append(f"What to do: {hint.rstrip('.')}")
        super().__init__(". ".join(parts) + ".")

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling keeps keyword-only arguments only if asked to; ZeroGPU and Ray carry errors across processes.
        return (_rebuild, (type(self), self.what, self.got, self.limit, self.hint))


def _rebuild(kind: type[UserError], what: str, got: object, limit: object, hint: str | None) -> UserError:
    return kind(what, got=got, limit=limit, hint=hint)


class TruncatedAudio(UserError):
    """Raised after the last block of a file that ends before its header says: what came before it is good."""


class OtherForm(UserError):
    """The checkpoint comes in another engine's form only."""


class Cancelled(Exception):
    """The caller asked to stop. Not an error: nothing is reported, nothing is kept."""
