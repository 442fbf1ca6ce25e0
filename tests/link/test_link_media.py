"""Direct media links over real HTTP: looking, downloading, limits, redirects, cancelling."""

from __future__ import annotations

import re
import threading
import time

import pytest
from link_world import CLIP, ID, LIMITS, refusal

from shared import link
from shared.audio import load_audio
from shared.errors import Cancelled, UserError
from shared.link.reasons import REASONS


def test_look_and_download_of_a_media_link(media, tmp_path):
    url = media.file("/a folder/Ett tal å.flac", CLIP.read_bytes())
    media.pages["/a%20folder/Ett%20tal%20%C3%A5.flac"] = media.pages.pop("/a folder/Ett tal å.flac")
    url = url.replace(" ", "%20")
    info = link.look(url)
    duration = load_audio(CLIP).duration
    assert info.title == "Ett tal å.flac" and info.size == CLIP.stat().st_size
    assert info.duration == pytest.approx(duration, abs=0.1)
    assert (info.thumbnail, info.start, info.live, info.captions) == (None, 0.0, False, ())
    assert link.human_captions(url, "sv") is None
    events = []
    file = link.download(url, tmp_path, **LIMITS, progress=lambda *event: events.append(event))
    assert file.read_bytes() == CLIP.read_bytes() and list(tmp_path.iterdir()) == [file]
    assert re.fullmatch(r"link-[0-9a-f]{16}\.flac", file.name) and events[-1][0] == 1.0


@pytest.mark.parametrize(("name", "arguments"), [
    ("a.mp3", ("-b:a", "192k")), ("a.m4a", ("-c:a", "aac")), ("a.wav", ()), ("a.flac", ()),
    ("a.ogg", ("-c:a", "libvorbis")), ("a.mkv", ("-c:a", "aac")), ("faststart.mp4", ("-c:a", "aac", "-movflags",
                                                                                  "faststart")),
])
def test_look_knows_the_length_from_two_ends(media, encoded, name, arguments, monkeypatch):
    monkeypatch.setattr("shared.link.media.HEAD_BYTES", 30_000)
    monkeypatch.setattr("shared.link.media.TAIL_BYTES", 50_000)
    body = encoded(name, *arguments, seconds=20)
    assert len(body) > 100_000
    info = link.look(media.file("/" + name, body, "application/octet-stream"))
    assert info.duration == pytest.approx(20, abs=0.3) and info.size == len(body)
    assert [part for _, part in media.asked] == ["bytes=0-29999", f"bytes={len(body) - 50_000}-{len(body) - 1}"]


def test_look_without_ranges_says_only_what_it_knows(media, encoded):
    body = encoded("long.wav")
    info = link.look(media.file("/a.mp3", body, "audio/wav", ranges=False))
    assert info.duration is None and info.size == len(body) > 2_000_000 and len(media.asked) == 1


@pytest.mark.parametrize(("name", "expected"), [
    ("/x/../../../etc/passwd.sh", ".media"), ("/clip.MP3", ".mp3"), ("/clip.py", ".media"), ("/clip", ".media"),
    ("/%2e%2e%2f%2e%2e%2fa.wav", ".wav"), ("/a.flac;rm -rf", ".media"), ("/a.wav%00.sh", ".media"),
])
def test_no_remote_name_chooses_our_path(media, tmp_path, name, expected):
    path = name.replace(" ", "%20")
    url = media.file(path, CLIP.read_bytes())
    file = link.download(url, tmp_path / ".", **LIMITS)
    assert list(tmp_path.iterdir()) == [file] and re.fullmatch(rf"link-[0-9a-f]{{16}}\{expected}", file.name)


def test_redirects_are_followed_within_the_list(media, tmp_path):
    media.file("/clip.flac", CLIP.read_bytes())
    url = media.moved("/0", "/1", 301)
    for hop, status in ((1, 302), (2, 303), (3, 307)):
        media.moved(f"/{hop}", f"{hop + 1}", status)
    media.moved("/4", f"http://localhost:{media.server_port}/clip.flac?x=1", 308)
    assert link.download(url, tmp_path, **LIMITS).read_bytes() == CLIP.read_bytes()
    assert link.look(url).title == "clip.flac"


@pytest.mark.parametrize(("kind", "to"), [
    ("address", "http://10.0.0.1/a.mp3"), ("address", "http://169.254.169.254/latest/meta-data"),
    ("address", "http://[::ffff:192.168.0.1]/"), ("address", "http://3232235521/"), ("address", "//0.0.0.0/x"),
    ("host", "http://example.org/a.mp3"), ("host", f"https://www.youtube.com/watch?v={ID}"),
    ("host", "http://localhost:1/x"), ("scheme", "file:///etc/passwd"), ("scheme", "ftp://localhost/a"),
    ("malformed", "http://user@localhost/x"), ("redirects", "/moved"),
])
def test_redirects_that_are_refused(media, tmp_path, kind, to, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", f"127.0.0.1:{media.server_port} 10.0.0.1 169.254.169.254 3232235521 0.0.0.0")
    url = media.moved("/moved", to)
    for door in (link.look, lambda url: link.download(url, tmp_path, **LIMITS)):
        with refusal(kind):
            door(url)
    assert not list(tmp_path.iterdir())


def test_a_redirect_to_loopback_is_refused_without_the_override(media, tmp_path, monkeypatch):
    media.file("/inside", CLIP.read_bytes())

    def turn_coat(handler) -> None:
        monkeypatch.delenv("LINK_ALLOW_LOOPBACK")  # from here on as it is in earnest
        handler.head(302, {"Location": "/inside", "Content-Length": "0"})

    media.pages["/outside"] = turn_coat
    with refusal("address"):
        link.download(media.base + "/outside", tmp_path, **LIMITS)
    assert [path for path, _ in media.asked] == ["/outside"] and not list(tmp_path.iterdir())


def endless(handler, headers: dict[str, str], block: bytes) -> None:
    handler.head(200, {"Content-Type": "audio/mpeg", **headers})
    while True:
        handler.wfile.write(block)
        time.sleep(0.001)


CHUNK = b"4000\r\n" + bytes(0x4000) + b"\r\n"


@pytest.mark.parametrize(("headers", "block"), [
    ({"Content-Length": "10000000000"}, bytes(1000)),
    ({"Transfer-Encoding": "chunked"}, CHUNK),
    ({"Connection": "close"}, bytes(10_000)),
])
def test_bodies_without_end_are_cut_at_the_limit(media, tmp_path, headers, block):
    media.pages["/endless.mp3"] = lambda handler: endless(handler, headers, block)
    with refusal("large") as caught:
        link.download(media.base + "/endless.mp3", tmp_path, max_seconds=60, max_bytes=500_000)
    assert caught.value.limit and not list(tmp_path.iterdir()) and media.hung_up.wait(10)


def test_chunked_bodies_with_an_end_are_fine(media, tmp_path):
    def chunked(handler) -> None:
        handler.head(200, {"Content-Type": "audio/flac", "Transfer-Encoding": "chunked"})
        body = CLIP.read_bytes()
        for first in range(0, len(body), 10_000):
            block = body[first : first + 10_000]
            handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    media.pages["/chunked"] = chunked
    events = []
    file = link.download(media.base + "/chunked", tmp_path, **LIMITS, progress=lambda *event: events.append(event))
    assert file.read_bytes() == CLIP.read_bytes() and events[0][0] is None
    info = link.look(media.base + "/chunked")
    assert info.size is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("after", ["head", "some", "nothing"])
def test_cancel_ends_a_slow_download(media, tmp_path, after, monkeypatch):
    monkeypatch.setattr("shared.link.media.READ_SECONDS", 600)  # so that nothing else can end it
    waiting = threading.Event()

    def slow(handler) -> None:
        if after != "nothing":
            handler.head(200, {"Content-Type": "audio/mpeg", "Content-Length": "100000"})
        if after == "some":
            handler.wfile.write(bytes(1000))
        waiting.set()
        assert not handler.rfile.read(1)  # until the other side leaves
        handler.server.hung_up.set()

    media.pages["/slow.mp3"] = slow
    cancel = threading.Event()
    threading.Thread(target=lambda: waiting.wait() and cancel.set(), daemon=True).start()
    with pytest.raises(Cancelled):
        link.download(media.base + "/slow.mp3", tmp_path, **LIMITS, cancel=cancel)
    assert not list(tmp_path.iterdir()) and media.hung_up.wait(10)
    with pytest.raises(Cancelled):
        link.look(media.base + "/slow.mp3", cancel=cancel)


@pytest.mark.timeout(60)
def test_a_body_that_never_ends_runs_out_of_time(media, tmp_path, monkeypatch):
    monkeypatch.setattr("shared.link.media.FETCH_SECONDS", 0.5)
    media.pages["/drip"] = lambda handler: endless(handler, {"Connection": "close"}, b"x")
    with refusal("slow"):
        link.download(media.base + "/drip", tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())


def test_a_body_that_breaks_off(media, tmp_path):
    body = CLIP.read_bytes()

    def broken(handler) -> None:
        handler.head(200, {"Content-Type": "audio/flac", "Content-Length": str(len(body))})
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    media.pages["/broken"] = broken
    with refusal("broken"):
        link.download(media.base + "/broken", tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("what", "body", "kind"), [
    (REASONS["not_media"].what, b"<html>no</html>", "text/html; charset=utf-8"),
    (REASONS["not_media"].what, b"{}", "application/json"),
    (REASONS["not_media"].what, b"#EXTM3U\nhttp://10.0.0.1/a", "application/vnd.apple.mpegurl"),
    (REASONS["not_media"].what, b"#EXTM3U\nhttp://10.0.0.1/a", "audio/x-mpegurl"),
    ("", b"<html>no</html>" * 100, "application/octet-stream"),
    ("", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "audio/mpeg"),
    ("", b"", "audio/mpeg"),
])
def test_what_is_no_media_is_refused(media, tmp_path, what, body, kind):
    url = media.file("/x.mp3", body, kind)
    for door in (link.look, lambda url: link.download(url, tmp_path, **LIMITS)):
        with pytest.raises(UserError, match=f"^{what}"):
            door(url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("status", "headers"), [
    (404, {}), (403, {}), (500, {}), (204, {}), (200, {"Content-Type": "audio/mpeg", "Content-Encoding": "gzip"})])
def test_answers_without_a_file(media, tmp_path, status, headers):
    media.pages["/x"] = lambda handler: handler.head(status, headers | {"Content-Length": "0"})
    with refusal("answer"):
        link.download(media.base + "/x", tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())


def test_a_picture_has_no_sound(media, encoded, tmp_path):
    url = media.file("/mute.mp4", encoded("mute.mp4", "-f", "lavfi", "-i", "color=size=64x64", "-map", "1:v",
                                          seconds=2), "video/mp4")
    for door in (link.look, lambda url: link.download(url, tmp_path, **LIMITS)):
        with refusal("silent"):
            door(url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "kind"), [
    ({"max_seconds": 1}, "long"), ({"max_seconds": 1, "part": link.Part(0, 2)}, "long"),
    ({"part": link.Part(100)}, "part")])
def test_the_length_of_a_media_file_is_checked_once_it_is_here(media, tmp_path, arguments, kind):
    url = media.file("/clip.flac", CLIP.read_bytes())
    with refusal(kind) as caught:
        link.download(url, tmp_path, **LIMITS | arguments)
    assert caught.value.got and caught.value.limit and not list(tmp_path.iterdir())
    assert link.download(url, tmp_path, part=link.Part(1, 3), max_seconds=3, max_bytes=10**7).is_file()


def test_answers_that_are_no_http(media, tmp_path):
    def noise(handler) -> None:
        handler.wfile.write(b"\x00\x01nonsense\r\n\r\n" * 100)
        handler.close_connection = True

    media.pages["/noise"] = noise
    with refusal("broken"):
        link.download(media.base + "/noise", tmp_path, **LIMITS)
    url = media.base.replace("http:", "https:") + "/noise"  # TLS spoken to a server that has none
    with refusal("broken"):
        link.download(url, tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())


def test_a_callback_that_raises_leaves_nothing_behind(media, tmp_path):
    def gone(fraction, text) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        link.download(media.file("/clip.flac", CLIP.read_bytes()), tmp_path, **LIMITS, progress=gone)
    assert not list(tmp_path.iterdir())
