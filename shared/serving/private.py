"""Checkpoints that only a visitor who signed in may use: kept apart from all others, and gone with their last use.

Files lie in a folder of this process that no other checkpoint shares, and are deleted with the `Transcriber` that was
opened from them.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from shared.checkpoint import Account, Download
from shared.inference import Transcriber
from shared.system.temporary import temporary_root

PRIVATE_SECONDS = 900.0  # unused, after which one is forgotten


def opened_for(account: Account, max_bytes: int, open_with: Callable[[Download], Transcriber]) -> Transcriber:
    """A checkpoint read with the account's own token.

    Args:
        account: the visitor's.
        max_bytes: of the download.
        open_with: opens the checkpoint with what it is given.

    Returns:
        What `open_with` gives. What was fetched for it is deleted with it.

    Raises:
        UserError: what `open_with` raises; nothing of it is left on the disk then.
    """
    folder = Path(tempfile.mkdtemp(prefix="account-", dir=temporary_root()))
    try:
        found = open_with(Download(max_bytes, token=False, account=account, folder=folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found
