"""The page for links as programs use it: real media behind real links on loopback, a stand-in for YouTube, refusals."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from media_server import serves, video_of
from page_client import PageClient
from paths import DATA
from youtube_server import Video, YouTubeServer, openssl

from shared.audio import ffmpeg_executable
from shared.errors import UserError
from shared.link.reasons import REASONS
from shared.serving import Limits, Serving
from shared.ui import RESULTS, ROOT
from shared.ui.pages import youtube
from shared.ui.pages.youtube import seconds
from shared.ui.server.launch import Page, build, start
from shared.wer import word_errors

CLIP = DATA / "en_austen-0890.ogg"
REFERENCE = "unless to be rather cold-hearted and rather selfish is to be ill-disposed:"
CHOICES = ("en", "transcribe", "auto", 1, 0.5, "")
WHOLE = ("", "", "none")
ID = "dQw4w9WgXcQ"


@pytest.fixture(scope="module")
def address():
    serving = Serving("embedded:whisper-base", "embedded:whisper-base",
                      limits=Limits(max_seconds=60.0, max_bytes=5_000_000))
    demo = build("Videos", [Page("Videos", "videos", youtube.page)], serving)
    yield start(demo, max_bytes=5_000_000, block=False)
    demo.close()


@pytest.fixture
def client(address):
    return PageClient(address, verbose=False)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    video_of(CLIP, folder / "Sense and Sensibility.mp4")
    (folder / "notes.mp4").write_text("Only words. " * 99)
    with serves(folder) as address:
        yield address


@pytest.fixture
def link(media, monkeypatch):
    """A video on loopback, which this server is allowed to open for once."""
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")
    monkeypatch.setenv("ALLOWED_HOSTS", media.removeprefix("http://"))
    return f"{media}/Sense%20and%20Sensibility.mp4"


@pytest.fixture
def youtube_videos(tmp_path_factory, monkeypatch):
    if openssl() is None:
        pytest.skip("openssl, which makes the stand-in's certificate, is not installed")
    server = YouTubeServer(tmp_path_factory.mktemp("youtube"))
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "LINK_ALLOW_LOOPBACK", "ALLOWED_HOSTS", "YOUTUBE_COOKIES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server.videos
    server.shutdown()


def left_behind() -> list[Path]:
    return [path for path in ROOT.glob("link-*")]


def look(client: PageClient, link: str) -> tuple:
    return client.predict(link, api_name="/look_up_link")


def transcribe(client: PageClient, link: str, *part, choices=CHOICES) -> tuple:
    return client.predict(link, *(part or WHOLE), *choices, api_name="/transcribe_video")


def test_every_action_is_a_named_endpoint(client):
    named = set(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
    assert named >= {"/look_up_link", "/transcribe_video", "/transcribe_video_file", "/stop_youtube"}


def test_a_link_is_looked_up_and_read(client, link):
    info, card, *_ = look(client, link)
    assert info["title"] == "Sense and Sensibility.mp4" and info["duration"] == pytest.approx(5.3, abs=0.2)
    assert "Sense and Sensibility" in str(card)
    text, _, files, *_ = transcribe(client, link)
    assert word_errors(REFERENCE, text, "en").wer <= 0.3
    assert Path(files[0]).name == "Sense and Sensibility.txt"
    assert left_behind() == []


def test_a_part_is_read(client, link):
    whole = transcribe(client, link)[1]
    part = transcribe(client, link, "0:02", "4", "none")[1]
    assert part["duration"] == pytest.approx(2, abs=0.1)
    assert 0 < len(part["text"].split()) < len(whole["text"].split())
    with pytest.raises(AppError, match="does not exist in this recording"):
        transcribe(client, link, "5:00", "", "none")
    with pytest.raises(AppError, match="not a time"):
        transcribe(client, link, "soon", "", "none")


@pytest.mark.parametrize(("link", "kind"), [
    ("", "malformed"), ("file:///etc/passwd", "scheme"), ("http://127.0.0.1:9/a.mp4", "address"),
    ("https://example.org/a.mp4", "host"), ("https://www.youtube.com/playlist?list=PLx", "not_one_video"),
])
def test_each_refusal_has_its_message_and_offers_a_file(client, monkeypatch, link, kind):
    monkeypatch.delenv("LINK_ALLOW_LOOPBACK", raising=False)
    for ask in (look, transcribe):
        with pytest.raises(AppError, match=f"{REASONS[kind].what}.*send a file instead"):
            ask(client, link)
    assert left_behind() == []


def test_what_is_not_media_is_refused(client, link, media):
    for ask in (look, transcribe):
        with pytest.raises(AppError, match="What to do"):
            ask(client, f"{media}/notes.mp4")
    with pytest.raises(AppError, match="404"):
        look(client, f"{media}/none.mp4")
    assert left_behind() == []


def test_too_long_for_this_app_unless_a_part_is_chosen(client, link, media, tmp_path, request):
    with serves(tmp_path) as address:
        subprocess.run([ffmpeg_executable(), "-v", "error", "-stream_loop", "15", "-i", str(CLIP),
                        str(tmp_path / "long.mp3")], check=True)
        request.getfixturevalue("monkeypatch").setenv("ALLOWED_HOSTS", address.removeprefix("http://"))
        card = str(look(client, f"{address}/long.mp3")[1])
        assert "choose a part" in card
        with pytest.raises(AppError, match=r"too long.*1 min"):
            transcribe(client, f"{address}/long.mp3")
        assert transcribe(client, f"{address}/long.mp3", "1:00", "1:06", "none")[0]
    assert left_behind() == []


def test_stop_ends_a_download_and_keeps_nothing(client, link, media):
    before = set(RESULTS.iterdir())
    running = client.submit(f"{media}/slow/Sense and Sensibility.mp4".replace(" ", "%20"), *WHOLE, *CHOICES,
                            api_name="/transcribe_video")
    while "Fetching" not in str(running.status().progress_data):
        assert not running.done(), running.exception()
        time.sleep(0.05)
    client.predict(api_name="/stop_youtube")
    with pytest.raises(AppError, match="Stopped"):
        running.result(timeout=30)
    assert left_behind() == [] and set(RESULTS.iterdir()) == before


def test_a_youtube_video_and_its_own_captions(client, youtube_videos, tmp_path):
    sound = tmp_path / "sound.webm"
    subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(CLIP), "-c:a", "libopus", str(sound)], check=True)
    youtube_videos[ID] = Video(sound.read_bytes(), "Sense <b>and</b> Sensibility",
                               captions={"en": REFERENCE, "de": "Hallo", "a.fr": "reconnu"})
    link = f"https://youtu.be/{ID}?t=3"
    info, card, start, *_ = look(client, link)
    assert info["start"] == 3.0 and start == "0:03" and info["reference_languages"] == ["en", "de"]
    assert "Sense &lt;b&gt;" in str(card) and "i.ytimg.com" in str(card)
    text, *_, score = transcribe(client, link, "", "", "en")
    errors = word_errors(REFERENCE, text, "en")
    assert f"({errors.errors} of {errors.reference_length})" in score and "Compared with the captions" in score
    assert "too short to tell" in str(score)
    with pytest.raises(AppError, match="captions of the whole video"):
        transcribe(client, link, "0:03", "", "en")
    assert "were not compared" in str(transcribe(client, link, "", "", "de")[-1])
    assert left_behind() == []


def test_a_video_that_wants_a_sign_in_is_named_so(client, youtube_videos):
    youtube_videos[ID] = Video(status="LOGIN_REQUIRED", reason="Private video",
                               subreason="Sign in if you've been granted access to this video")
    with pytest.raises(AppError, match=r"private.*send a file instead"):
        look(client, f"https://youtu.be/{ID}")


def test_a_file_instead(client):
    text, *_ = client.predict(handle_file(str(CLIP)), *CHOICES, api_name="/transcribe_video_file")
    assert word_errors(REFERENCE, text, "en").wer <= 0.3
    with pytest.raises(AppError, match="No file was chosen"):
        client.predict(None, *CHOICES, api_name="/transcribe_video_file")


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("1:30", 90), ("01:02:03", 3723), ("2,5", 2.5), (" ", None)])
def test_times(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["soon", "-3", "1:2:3:4", "1e9", "1:", "٣"])
def test_no_times(text):
    if text == "٣":
        assert seconds(text) == 3  # a digit is a digit
        return
    with pytest.raises(UserError, match="not a time"):
        seconds(text)
