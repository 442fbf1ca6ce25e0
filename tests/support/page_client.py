"""Gradio's client for the pages' own actions, which are not listed to programs but can be called."""

from __future__ import annotations

import httpx
from gradio_client import Client


class PageClient(Client):
    """Knows the parameters of the actions that are not listed, too."""

    def _get_api_info(self) -> dict:
        return httpx.get(f"{self.src_prefixed}info", params={"all_endpoints": "1"}, timeout=60).json()
