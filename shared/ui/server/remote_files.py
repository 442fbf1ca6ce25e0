"""A file that a program names by an http address in a call of a page's action: fetched as links are, or not at all.

Gradio's own way reads such a file into memory whole, however large, and lets some private networks through
(100.64.0.0/10 among them). Here hosts, addresses and redirects are judged by `shared.link`, and the size is limited.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable

from gradio import processing_utils

from shared import link as links
from shared.errors import UserError
from shared.ui import UPLOADS
from shared.ui.server import messages

MAX_SECONDS = 12 * 3600.0  # of a recording; what the app allows is checked when it is read
MAX_BYTES = 4_000_000_000  # where the app has no limit of its own


def fetched(address: str, room: float) -> str:
    """Path of the file in a folder of its own below UPLOADS, which goes as an upload's does.

    Args:
        address: http or https.
        room: bytes it may take.

    Raises:
        UserError: the host is not allowed, the address is private, the file is too large or not sound.
    """
    folder = UPLOADS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    try:
        return str(links.download(address, folder, max_seconds=MAX_SECONDS, max_bytes=int(min(room, MAX_BYTES))))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def guard(room: Callable[[], float]) -> None:
    """From here on Gradio fetches what a call names by `fetched`. room: bytes that a file may take now."""

    def in_place_of_gradios(address: str, cache_dir: str) -> str:
        try:
            return fetched(address, room())
        except UserError as problem:
            raise messages.error(problem) from None

    async def without_waiting(address: str, cache_dir: str) -> str:
        return await asyncio.to_thread(in_place_of_gradios, address, cache_dir)

    processing_utils.async_ssrf_protected_download = without_waiting
    processing_utils.ssrf_protected_download = processing_utils.save_url_to_cache = in_place_of_gradios
