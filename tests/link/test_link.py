"""Links: what is read from them, which hosts and addresses are refused."""

from __future__ import annotations

import socket
import threading

import pytest
from link_world import CLIP, ID, LIMITS, refusal

from shared import link
from shared.link import hosts as link_hosts
from shared.link.reasons import SEND_FILE

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
        link.download(f"https://youtu.be/{ID}", tmp_path, part=link.Part(start, end), **LIMITS)


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


def test_no_network_is_an_error_at_once(monkeypatch, tmp_path):
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
