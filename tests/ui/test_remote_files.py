"""A file that a program names by its address is fetched as links are, not as Gradio would."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio import processing_utils
from speech import clips

from shared.ui import UPLOADS
from shared.ui.server import remote_files

MAX_FILE = 100_000
ITALIAN = min((clip.path for clip in clips("it") if clip.path.suffix == ".flac"), key=lambda path: path.stat().st_size)


@pytest.fixture
def gradios_own_way() -> Iterator[None]:
    names = ("async_ssrf_protected_download", "ssrf_protected_download", "save_url_to_cache")
    before = {name: getattr(processing_utils, name) for name in names}
    yield
    for name, value in before.items():
        setattr(processing_utils, name, value)


def by_address(address: str) -> dict:
    """What a program sends that names a file by its address, after Gradio has taken it in."""
    given = {"path": address, "meta": {"_type": "gradio.FileData"}}
    return asyncio.run(processing_utils.async_move_files_to_cache(given, gr.File(), check_in_upload_folder=True))


@pytest.mark.parametrize(("path", "allowed", "refused"), [
    ("/a.flac", True, None), ("/a.flac", False, "not allowed here"), ("/large.flac", True, "too large"),
    ("/away", True, "private address"), ("/text", True, "no sound or video")])
def test_a_file_named_by_address_is_fetched_as_links_are(media, monkeypatch, gradios_own_way, path, allowed, refused):
    """Size, hosts, redirects: Gradio read any size into memory, from any host."""
    clip = ITALIAN.read_bytes()
    media.file("/a.flac", clip)
    media.file("/large.flac", clip + bytes(MAX_FILE))
    media.file("/text", b"<html>", "text/html")
    media.moved("/away", "http://100.100.100.200/latest/meta-data")
    if not allowed:
        monkeypatch.setenv("ALLOWED_HOSTS", "")
    remote_files.guard(lambda: MAX_FILE)
    before = set(UPLOADS.glob("*"))
    if refused is None:
        found = Path(by_address(media.base + path)["path"])
        assert found.read_bytes() == clip and found.parent.parent == UPLOADS
        shutil.rmtree(found.parent)
    else:
        with pytest.raises(gr.Error, match=refused):
            by_address(media.base + path)
    assert set(UPLOADS.glob("*")) == before


@pytest.mark.parametrize("host", ["10.0.0.1", "100.64.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "0x7f000001",
                                  "[::1]", "[64:ff9b::a00:1]", "localhost", "127.1"])
def test_no_private_address_is_asked_for_a_file(gradios_own_way, monkeypatch, host):
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK", raising=False)
    monkeypatch.setenv("ALLOWED_HOSTS", "localhost")
    remote_files.guard(lambda: MAX_FILE)
    with pytest.raises(gr.Error, match=r"private address|not allowed here"):
        by_address(f"http://{host}/a.wav")
