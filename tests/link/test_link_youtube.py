"""YouTube links: the real yt-dlp and pytubefix, in their real process, against a stand-in for YouTube on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yt_dlp
from paths import DATA, ROOT
from youtube_server import Video, YouTubeServer, openssl
from yt_dlp.utils import DownloadError
from yt_dlp.utils._jsruntime import NodeJsRuntime

from shared import link
from shared.audio import ffmpeg_executable, load_audio, probe
from shared.errors import Cancelled, UserError
from shared.link import process as link_process
from shared.link import youtube as link_youtube
from shared.link.reasons import REASONS, SEND_FILE

CLIP = DATA / "en_austen-0880.flac"
LIMITS = {"max_seconds": 60, "max_bytes": 10**7}
ID = "dQw4w9WgXcQ"
LINK = f"https://youtu.be/{ID}"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    """Real speech as YouTube keeps it: Opus in WebM."""
    path = tmp_path_factory.mktemp("sound") / "clip.webm"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", CLIP, "-c:a", "libopus", path], check=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if openssl() is None:
        pytest.skip("openssl, which makes the stand-in's certificate, is not installed")
    server = YouTubeServer(tmp_path_factory.mktemp("youtube"))
    yield server
    server.shutdown()


@pytest.fixture
def youtube(server, monkeypatch):
    """The stand-in, and an environment in which it is YouTube."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "http_proxy", "HTTP_PROXY", "LINK_ALLOW_LOOPBACK",
                 "ALLOWED_HOSTS", "YOUTUBE_COOKIES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.videos.clear()
    server.asked.clear()
    server.asked_by.clear()
    server.hung_up.clear()
    return server


@pytest.fixture
def bystander():
    """A server inside the network that must never be asked anything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def refusal(kind: str):
    return pytest.raises(UserError, match=f"^{REASONS[kind].what}")


def test_look_tells_what_is_there_before_anything_is_fetched(youtube, sound):
    youtube.videos[ID] = Video(sound, "Sense <and> Sensibility", captions={"sv": "Hej", "a.en": "recognised"})
    info = link.look(f"https://www.youtube.com/watch?v={ID}&t=1m30s&list=PLx")
    captions = (link.Caption("sv", True), link.Caption("en", False))
    assert info == link.LinkInfo("Sense <and> Sensibility", 5.0, f"https://i.ytimg.com/vi/{ID}/default.jpg", 90.0,
                                 False, captions, len(sound))
    assert info.reference_languages == ("sv",)
    assert not [path for host, path in youtube.asked if "googlevideo" in host]


def test_download_gives_the_sound_as_it_is(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, "../../etc/passwd")
    events = []
    file = link.download(LINK, tmp_path, **LIMITS, progress=lambda *event: events.append(event))
    assert file.read_bytes() == sound and list(tmp_path.iterdir()) == [file]
    assert file.name.startswith("link-") and file.suffix == ".webm"
    assert events[-1][0] == 1.0 and "MB" in events[-1][1]
    assert youtube.asked_by == {"yt-dlp"}
    assert load_audio(file, start=1, end=2).duration == pytest.approx(1, abs=0.05)


def test_the_second_way_serves_what_the_first_cannot(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, status="LOGIN_REQUIRED", reason="Sign in to confirm you’re not a bot",
                               ytdlp_only=True, captions={"sv": "Hej\nalla", "a.en": "recognised"})
    info = link.look(LINK)
    assert (info.title, info.duration, info.size) == ("A talk", 5.0, len(sound))
    assert info.reference_languages == ("sv",)
    file = link.download(LINK, tmp_path, **LIMITS)
    assert probe(file).has_audio and file.read_bytes() == sound
    assert link.human_captions(LINK, "sv") == "Hej\nalla"
    assert youtube.asked_by == {"yt-dlp", "pytubefix"}


REFUSALS = [
    ("bot", "LOGIN_REQUIRED", "Sign in to confirm you’re not a bot", None),
    ("private", "LOGIN_REQUIRED", "Private video", "Sign in if you've been granted access to this video"),
    ("age", "LOGIN_REQUIRED", "Sign in to confirm your age", "This video may be inappropriate for some users."),
    ("members", "UNPLAYABLE", "Join this channel to get access to members-only content like this video, and other "
     "exclusive perks.", None),
    ("removed", "ERROR", "Video unavailable", "This video has been removed by the uploader"),
    ("unavailable", "ERROR", "Video unavailable", None),
    ("geo", "UNPLAYABLE", "Video unavailable", "The uploader has not made this video available in your country"),
    ("upcoming", "LIVE_STREAM_OFFLINE", "This live event will begin in 3 hours.", None),
    ("paid", "UNPLAYABLE", "This video requires payment to watch", None),
]
COLUMNS = ("kind", "status", "reason", "subreason")


@pytest.mark.parametrize(COLUMNS, REFUSALS[:2])
def test_a_refusal_of_youtube_comes_out_of_the_process_with_its_message(youtube, kind, status, reason, subreason):
    """After one the second way is tried, after the other it is not."""
    youtube.videos[ID] = Video(status=status, reason=reason, subreason=subreason)
    with refusal(kind) as caught:
        link.look(LINK)
    assert SEND_FILE in str(caught.value)
    assert youtube.asked_by == ({"yt-dlp"} if REASONS[kind].final else {"yt-dlp", "pytubefix"})


@pytest.mark.parametrize(COLUMNS, REFUSALS)
def test_each_refusal_of_youtube_has_its_own_message(youtube, monkeypatch, tmp_path, kind, status, reason, subreason):
    """What runs inside the process, called here: seconds less for each."""
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies that it met first
    youtube.videos[ID] = Video(status=status, reason=reason, subreason=subreason)
    with pytest.raises(link_youtube.Refused) as caught:
        link_youtube.run({"action": "look", "video": ID, "folder": str(tmp_path)}, lambda fraction, text: None)
    assert caught.value.kind == kind
    message = str(link.link_error(kind, got=caught.value.got, limit=caught.value.limit))
    assert message.startswith(REASONS[kind].what) and SEND_FILE in message
    assert youtube.asked_by == ({"yt-dlp"} if REASONS[kind].final else {"yt-dlp", "pytubefix"})


def test_a_running_live_stream_is_refused_and_not_fetched(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, live=True)
    assert link.look(LINK).live
    with refusal("live"):
        link.download(LINK, tmp_path, **LIMITS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("video", "arguments", "kind"), [
    ({"seconds": 7200}, {}, "long"),
    ({"seconds": 7200}, {"part": link.Part(10, 100)}, "long"),
    ({"seconds": 30}, {"part": link.Part(40)}, "part"),
    ({"declared_bytes": 10**9}, {}, "large"),
])
def test_limits_are_checked_before_the_download(youtube, sound, tmp_path, video, arguments, kind):
    youtube.videos[ID] = Video(sound, **video)
    with refusal(kind) as caught:
        link.download(LINK, tmp_path, **LIMITS, **arguments)
    assert caught.value.got and caught.value.limit
    assert not list(tmp_path.iterdir()) and not [path for host, path in youtube.asked if "googlevideo" in host]


def test_a_part_of_a_long_video_may_be_fetched(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, seconds=7200)
    assert link.download(LINK, tmp_path, **LIMITS, part=link.Part(1, 4)).is_file()


def test_a_sound_larger_than_announced_is_stopped_on_the_way(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, drip=True, declared_bytes=1000)
    with refusal("large"):
        link.download(LINK, tmp_path, max_seconds=60, max_bytes=20_000)
    assert not list(tmp_path.iterdir()) and youtube.hung_up.wait(10)


def test_cancel_ends_the_process_and_leaves_nothing(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, drip=True, declared_bytes=1000)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        link.download(LINK, tmp_path, **LIMITS, progress=lambda fraction, text: cancel.set(), cancel=cancel)
    assert not list(tmp_path.iterdir()) and youtube.hung_up.wait(10)


def test_the_process_does_not_outlive_its_parent(youtube, sound, tmp_path):
    youtube.videos[ID] = Video(sound, drip=True, declared_bytes=1000)
    job = {"action": "download", "video": ID, "folder": str(tmp_path), "max_seconds": 60, "max_bytes": 10**9}
    process = subprocess.Popen([sys.executable, "-m", "shared.link.process"], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    assert b"progress" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=20) == 1
    process.stdout.close()


def test_captions_are_people_s_or_none(youtube, sound):
    youtube.videos[ID] = Video(sound, captions={"pt-BR": "Olá\n[Música]\n♪ mundo ♪", "a.en": "recognised"})
    assert link.human_captions(LINK, "pt") == "Olá\nmundo"
    assert link.human_captions(LINK, "en") is None


def test_captions_that_youtube_keeps_back_are_an_error_not_none(youtube, sound):
    youtube.videos[ID] = Video(sound, captions={"sv": None})
    with refusal("failed"):
        link.human_captions(LINK, "sv")
    assert youtube.asked_by == {"yt-dlp", "pytubefix"}


def test_a_page_that_leads_inside_is_not_followed(youtube, sound, bystander, tmp_path):
    inside = f"http://127.0.0.1:{bystander.server_port}/secret"
    youtube.videos[ID] = Video(sound, page_moved_to=inside, address=inside)
    with pytest.raises(UserError):
        link.download(LINK, tmp_path, **LIMITS)
    assert bystander.asked == [] and not list(tmp_path.iterdir())


def test_cookies_are_used_and_left_as_they_are(youtube, sound, tmp_path, monkeypatch):
    youtube.videos[ID] = Video(sound)
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t2147483647\tLOGIN\tyes\n")
    before = cookies.read_text()
    monkeypatch.setenv("YOUTUBE_COOKIES", str(cookies))
    assert link.look(LINK).title == "A talk"
    assert cookies.read_text() == before and "LOGIN=yes" in youtube.cookies
    monkeypatch.setenv("YOUTUBE_COOKIES", str(tmp_path / "none.txt"))
    with refusal("cookies"):
        link.look(LINK)


def test_no_secret_of_ours_is_within_reach(youtube, monkeypatch, tmp_path):
    """The process runs JavaScript that YouTube sends: it gets no token, no home folder."""
    from shared.link.process import _process

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with _process(tmp_path) as (child, _):
        environment = Path(f"/proc/{child.process.pid}/environ")
        if not environment.exists():
            pytest.skip("no /proc here")
        while b"YTDLP_NO_PLUGINS" not in (found := environment.read_bytes()):
            assert child.process.poll() is None
        assert b"hf_secret" not in found and os.fsencode(f"HOME={tmp_path}") in found


def guarded(code: str, **environment: str) -> subprocess.CompletedProcess:
    names = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    names.pop("LINK_ALLOW_LOOPBACK", None)
    code = f"import socket, urllib.request\nfrom shared.link.process import guard_sockets\nguard_sockets()\n{code}"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=names | environment, capture_output=True,
                          text=True)


def test_the_guard_refuses_every_library_and_every_way(bystander):
    tries = [
        "urllib.request.urlopen('http://127.0.0.1:{port}/')",
        "urllib.request.urlopen('http://localhost:{port}/')",
        "socket.create_connection(('127.0.0.1', {port}))",
        "socket.socket().connect(('localhost', {port}))",
        "socket.socket().connect_ex(('127.0.0.1', {port}))",
        "socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.1', {port}))",
        "socket.getaddrinfo('youtube.com.example.org', 443)",
        "yt_dlp.YoutubeDL().urlopen('http://127.0.0.1:{port}/')",
        "pytubefix.request.get('http://127.0.0.1:{port}/')",
    ]
    code = "import yt_dlp, pytubefix.request\n" + "".join(
        f"try:\n {one}\nexcept Exception as error:\n print(error)\n" for one in tries)
    code = code.format(port=bystander.server_port)
    refused = [line for line in guarded(code).stdout.splitlines() if "refused by the address guard" in line]
    assert len(refused) == len(tries)
    assert bystander.asked == []


def test_the_guard_lets_the_named_proxy_through(bystander):
    code = f"socket.create_connection(('127.0.0.1', {bystander.server_port}))"
    assert guarded(code, HTTPS_PROXY=f"http://127.0.0.1:{bystander.server_port}").returncode == 0


def test_ytdlp_knows_no_other_site_and_has_its_javascript(bystander, tmp_path):
    job = {"action": "look", "folder": str(tmp_path)}
    with yt_dlp.YoutubeDL(link_youtube._ytdlp_options(job, None)) as downloader:
        assert list(downloader._ies) == ["Youtube"]
        with pytest.raises(DownloadError, match="No suitable extractor"):
            downloader.extract_info(f"http://127.0.0.1:{bystander.server_port}/clip.mp4")
    assert bystander.asked == []
    assert NodeJsRuntime(str(link_youtube.node_executable())).info.supported


@pytest.mark.parametrize("availability, refused", [
    ("private", "private"), ("subscriber_only", "members"), ("premium_only", "paid"), ("needs_auth", None),
    ("unlisted", None), ("public", None), (None, None),
])
def test_on_a_space_the_owners_cookies_open_nothing_that_only_the_owner_may_see(
        tmp_path, monkeypatch, availability, refused):
    class Downloader(yt_dlp.YoutubeDL):
        def extract_info(self, *args, **options):
            return {"_type": "video", "title": "a secret", "availability": availability}

    cookies = tmp_path / "mine.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n")
    monkeypatch.setenv("YOUTUBE_COOKIES", str(cookies))
    for space, answer in (("me/app", refused), ("", None)):
        monkeypatch.setenv("SPACE_ID", space)
        folder = tmp_path / (space.replace("/", "-") or "own")
        folder.mkdir()
        job = link_process._with_cookies({"video": ID, "folder": str(folder)})
        with Downloader({"quiet": True}) as downloader:
            if answer is None:
                assert link_youtube._ytdlp_info(job, downloader)["title"] == "a secret"
            else:
                with pytest.raises(link_youtube.Refused) as caught:
                    link_youtube._ytdlp_info(job, downloader)
                assert caught.value.args[0] == answer and "secret" not in str(caught.value)
