"""Links: what is read from them, which hosts and addresses are refused, and direct media links over real HTTP."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared import link, link_hosts
from shared.audio import ffmpeg_executable, load_audio
from shared.errors import Cancelled, UserError
from shared.link_errors import REASONS, SEND_FILE

DATA = Path(__file__).parent / "data"
CLIP = DATA / "en_austen-0880.flac"
LIMITS = {"max_seconds": 60, "max_bytes": 10**7}
ID = "dQw4w9WgXcQ"


def refusal(kind: str):
    return pytest.raises(UserError, match=f"^{REASONS[kind].what}")


class MediaServer(ThreadingHTTPServer):
    """A real web server on loopback. `pages`: path -> function(handler); `asked`: paths with their Range."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked, self.hung_up = {}, [], threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def file(self, path: str, body: bytes, kind: str = "audio/flac", ranges: bool = True) -> str:
        self.pages[path] = lambda handler: handler.send(body, kind, ranges)
        return self.base + path

    def moved(self, path: str, to: str, status: int = 302) -> str:
        self.pages[path] = lambda handler: handler.head(status, {"Location": to, "Content-Length": "0"})
        return self.base + path

    def handle_error(self, request, client_address) -> None:
        self.hung_up.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.pages[self.path.partition("?")[0]](self)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, body: bytes, kind: str, ranges: bool) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status, headers = 200, {"Content-Type": kind}
        if wanted and ranges:
            first, last, n_bytes = int(wanted[1]), int(wanted[2]), len(body)
            body, status = body[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{n_bytes}"
        self.head(status, headers | {"Content-Length": str(len(body))})
        self.wfile.write(body)


@pytest.fixture
def media(monkeypatch):
    server = MediaServer()
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
    monkeypatch.setenv("ALLOWED_HOSTS", f"127.0.0.1:{server.server_port}, localhost:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Function(name, *ffmpeg arguments) -> the clip, said again and again for a minute, in another form."""
    folder = tmp_path_factory.mktemp("encoded")

    def encode(name: str, *arguments: str, seconds: float = 60) -> bytes:
        path = folder / name
        if not path.exists():
            subprocess.run([ffmpeg_executable(), "-v", "error", "-stream_loop", "-1", "-i", CLIP, "-t", str(seconds),
                            *arguments, "-ac", "2", "-ar", "44100", path], check=True)
        return path.read_bytes()

    return encode


# What a link says


@pytest.mark.parametrize(("text", "start"), [
    (f"https://www.youtube.com/watch?v={ID}", 0),
    (f"http://youtube.com/watch?v={ID}&t=90", 90),
    (f"https://www.youtube.com/watch?v={ID}&t=90s", 90),
    (f"https://www.youtube.com/watch?app=desktop&v={ID}&list=PLabc&index=3&pp=x", 0),
    (f"https://m.youtube.com/watch?v={ID}&feature=share&t=1m30s", 90),
    (f"https://music.youtube.com/watch?v={ID}&si=abc", 0),
    (f"https://youtu.be/{ID}", 0),
    (f"https://youtu.be/{ID}?t=1h2m3s", 3723),
    (f"https://youtu.be/{ID}?si=abc&t=2m", 120),
    (f"youtu.be/{ID}?t=12.5", 12.5),
    (f"www.youtube.com/watch?v={ID}#t=1m1s", 61),
    (f"https://www.youtube.com/shorts/{ID}?feature=share", 0),
    (f"https://www.youtube.com/live/{ID}?t=1:02:03", 3723),
    (f"https://www.youtube.com/embed/{ID}?start=42&end=50&autoplay=1", 42),
    (f"https://www.youtube-nocookie.com/embed/{ID}?rel=0", 0),
    (f"https://www.youtube.com/v/{ID}", 0),
    (f"https://www.youtube.com/watch/{ID}", 0),
    (f"https://www.youtube.com/watch?v={ID}&t=soon", 0),
    (f"https://www.youtube.com/watch?v={ID}&t=", 0),
    (f"https://www.youtube.com/watch?v={ID}&time_continue=7", 7),
    (f"  HTTPS://WWW.YouTube.COM:443/watch?v={ID}  ", 0),
])
def test_every_form_of_a_youtube_link(text, start):
    assert link.parse_link(text) == link.Video(ID, start)


@pytest.mark.parametrize(("kind", "text"), [
    ("malformed", ""), ("malformed", "   "), ("malformed", "hello"), ("malformed", "a talk about whales"),
    ("malformed", "http://"), ("malformed", "https:///watch?v=x"), ("malformed", "https://youtu.be/a b"),
    ("malformed", "https://youtu.be\\@evil.example/x"), ("malformed", f"https://youtu.be@evil.example/{ID}"),
    ("malformed", "https://user:pass@youtu.be/" + ID), ("malformed", "https://[::1/x"),
    ("malformed", "https://youtu.be:99999/x"), ("malformed", "https://youtu.be/" + "x" * 2000),
    ("malformed", "https://a..b/x.mp3"), ("malformed", "/etc/passwd"),
    ("scheme", "file:///etc/passwd"), ("scheme", "ftp://example.org/a.mp3"), ("scheme", "javascript:alert(1)"),
    ("scheme", "data:audio/wav;base64,AAAA"), ("scheme", "rtmp://example.org/live"), ("scheme", "C:/clip.mp3"),
    ("scheme", f"ytsearch:{ID}"), ("scheme", "concat:/etc/passwd"),
    ("not_one_video", "https://www.youtube.com/"), ("not_one_video", "https://www.youtube.com/@somebody/live"),
    ("not_one_video", "https://www.youtube.com/playlist?list=PLabc"), ("not_one_video", "https://youtu.be/"),
    ("not_one_video", "https://www.youtube.com/watch?v=short"), ("not_one_video", f"https://youtu.be/{ID}x"),
    ("not_one_video", "https://www.youtube.com/embed/videoseries?list=PLabc"),
    ("not_one_video", "https://www.youtube.com/results?search_query=whales"),
    ("not_one_video", f"https://www.youtube.com/redirect?q=http://127.0.0.1/&v={ID}"),
    ("not_one_video", "https://www.youtube.com/channel/UC1234567890"),
    ("host", "https://example.org/a.mp3"), ("host", "https://youtube.com.example.org/watch?v=" + ID),
    ("host", "https://notyoutube.com/watch?v=" + ID), ("host", "https://vimeo.com/1"),
    ("host", "https://xn--yutube-wqf.com/watch?v=" + ID), ("host", "http://8.8.8.8/a.mp3"),
])
def test_links_that_are_refused_unasked(kind, text, monkeypatch):
    monkeypatch.delenv("ALLOWED_HOSTS", raising=False)
    for door in (link.look, link.parse_link, lambda text: link.human_captions(text, "sv"),
                 lambda text: link.download(text, "/nowhere", **LIMITS)):
        with refusal(kind) as caught:
            door(text)
        assert SEND_FILE in str(caught.value)


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 5), (5, 4), (float("nan"), None), (0, float("inf")),
                                            (float("inf"), None)])
def test_a_part_that_is_none(start, end, tmp_path):
    with refusal("part"):
        link.download(f"https://youtu.be/{ID}", tmp_path, start=start, end=end, **LIMITS)


@pytest.mark.parametrize(("entry", "url", "allowed"), [
    ("media.example.org", "https://media.example.org/a.mp3", True),
    ("media.example.org", "http://MEDIA.example.org./a.mp3", True),
    ("media.example.org", "https://media.example.org:8443/a.mp3", False),
    ("media.example.org:8443", "https://media.example.org:8443/a.mp3", True),
    ("media.example.org:8443", "https://media.example.org/a.mp3", False),
    ("media.example.org", "https://a.media.example.org/a.mp3", False),
    ("*.example.org", "https://a.b.example.org/a.mp3", True),
    ("*.example.org", "https://example.org/a.mp3", False),
    ("*.example.org", "https://badexample.org/a.mp3", False),
    ("a.example, b.example", "https://b.example/a.mp3", True),
    ("", "https://example.org/a.mp3", False),
    (" , ", "https://example.org/a.mp3", False),
    ("smörgås.example", "https://xn--smrgs-pra0j.example/a.mp3", True),
    ("xn--smrgs-pra0j.example", "https://smörgås.example/a.mp3", True),
])
def test_allowed_hosts(entry, url, allowed, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", entry)
    if allowed:
        assert link.parse_link(url).path == "/a.mp3"
    else:
        with refusal("host"):
            link.parse_link(url)


# Which addresses


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
    "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "2001:db8::1", "2001::1", "100::1",
])
def test_private_addresses(address, monkeypatch):
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK", raising=False)
    assert not link_hosts.may_connect(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "142.250.74.46", "2a00:1450:400f:80d::200e", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert link_hosts.may_connect(address)


def test_the_override_for_tests_allows_loopback_only(monkeypatch):
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
    assert link_hosts.may_connect("127.0.0.1") and link_hosts.may_connect("::1")
    assert not link_hosts.may_connect("10.0.0.1") and not link_hosts.may_connect("0.0.0.0")
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "0")
    assert not link_hosts.may_connect("127.0.0.1")


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0",
    "127.0.0.1.", "１２７.0.0.1", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[fe80::1%25eth0]", "10.1", "0xa9fea9fe", "169.254.169.254", "[fd00::1]", "[64:ff9b::127.0.0.1]", "localhost",
    "localhost.", "LOCALHOST",
])
def test_private_hosts_in_every_notation_are_refused_even_if_listed(host, media, monkeypatch, tmp_path):
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK")
    bare = host.strip("[]").lower()
    monkeypatch.setenv("ALLOWED_HOSTS", f"{bare}:{media.server_port} {bare.rstrip('.')}:{media.server_port}")
    with refusal("address"):
        link.download(f"http://{host}:{media.server_port}/clip.flac", tmp_path, **LIMITS)
    assert media.asked == [] and not list(tmp_path.iterdir())


def answers(monkeypatch, *rounds: list[str]) -> list[str]:
    """Let the system's resolver say one of `rounds` (addresses) after the other for names; returns what was asked."""
    asked, real = [], socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **more):
        if link_hosts._literal(host):
            return real(host, port, *rest, **more)
        asked.append(host)
        found = rounds[min(len(asked), len(rounds)) - 1]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
                for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("found", [["10.0.0.1"], ["::ffff:10.0.0.1"], ["8.8.8.8", "192.168.0.1"], ["127.0.0.1", "::"],
                                   ["169.254.169.254"]])
def test_a_public_name_with_a_private_address(found, media, monkeypatch, tmp_path):
    monkeypatch.setenv("ALLOWED_HOSTS", f"media.example.org:{media.server_port}")
    answers(monkeypatch, found)
    with refusal("address"):
        link.download(f"http://media.example.org:{media.server_port}/clip.flac", tmp_path, **LIMITS)
    assert media.asked == []


def test_a_name_is_looked_up_once_and_that_answer_used(media, monkeypatch, tmp_path):
    """DNS rebinding: the second answer would lead elsewhere, and is never asked for."""
    media.file("/clip.flac", CLIP.read_bytes())
    monkeypatch.setenv("ALLOWED_HOSTS", f"media.example.org:{media.server_port}")
    asked = answers(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    url = f"http://media.example.org:{media.server_port}/clip.flac"
    assert link.download(url, tmp_path, **LIMITS).read_bytes() == CLIP.read_bytes()
    assert asked == ["media.example.org"]
    with refusal("address"):  # a new connection, a new look-up, a new judgement
        link.download(url, tmp_path, **LIMITS)


def test_no_network_is_told_at_once(monkeypatch, tmp_path):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)

    def nothing(*arguments, **more):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    for door in (link.look, lambda text: link.human_captions(text, "sv"),
                 lambda text: link.download(text, tmp_path, **LIMITS)):
        with refusal("network"):
            door(f"https://youtu.be/{ID}")
    assert not list(tmp_path.iterdir())


def test_a_resolver_that_never_answers_and_a_port_that_is_shut(monkeypatch):
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with refusal("network"):
        link_hosts.connect("127.0.0.1", port)
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **more: done.wait() and [])
    with refusal("network"):
        link_hosts.connect("media.example.org", 443, seconds=0.2)
    done.set()


# Direct media links


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
    told = []
    file = link.download(url, tmp_path, **LIMITS, progress=lambda *event: told.append(event))
    assert file.read_bytes() == CLIP.read_bytes() and list(tmp_path.iterdir()) == [file]
    assert re.fullmatch(r"link-[0-9a-f]{16}\.flac", file.name) and told[-1][0] == 1.0


@pytest.mark.parametrize(("name", "arguments"), [
    ("a.mp3", ("-b:a", "192k")), ("a.m4a", ("-c:a", "aac")), ("a.wav", ()), ("a.flac", ()),
    ("a.ogg", ("-c:a", "libvorbis")), ("a.mkv", ("-c:a", "aac")), ("faststart.mp4", ("-c:a", "aac", "-movflags",
                                                                                  "faststart")),
])
def test_look_knows_the_length_from_two_ends(media, encoded, name, arguments, monkeypatch):
    monkeypatch.setattr("shared.link_media.HEAD_BYTES", 30_000)
    monkeypatch.setattr("shared.link_media.TAIL_BYTES", 50_000)
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
    told = []
    file = link.download(media.base + "/chunked", tmp_path, **LIMITS, progress=lambda *event: told.append(event))
    assert file.read_bytes() == CLIP.read_bytes() and told[0][0] is None
    info = link.look(media.base + "/chunked")
    assert info.size is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("after", ["head", "some", "nothing"])
def test_cancel_ends_a_slow_download(media, tmp_path, after, monkeypatch):
    monkeypatch.setattr("shared.link_media.READ_SECONDS", 600)  # so that nothing else can end it
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
    monkeypatch.setattr("shared.link_media.FETCH_SECONDS", 0.5)
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
    ({"max_seconds": 1}, "long"), ({"max_seconds": 1, "start": 0, "end": 2}, "long"), ({"start": 100}, "part")])
def test_the_length_of_a_media_file_is_checked_once_it_is_here(media, tmp_path, arguments, kind):
    url = media.file("/clip.flac", CLIP.read_bytes())
    with refusal(kind) as caught:
        link.download(url, tmp_path, **LIMITS | arguments)
    assert caught.value.got and caught.value.limit and not list(tmp_path.iterdir())
    assert link.download(url, tmp_path, start=1, end=3, max_seconds=3, max_bytes=10**7).is_file()


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
