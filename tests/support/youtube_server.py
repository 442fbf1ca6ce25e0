"""A small stand-in for YouTube on loopback, for the real yt-dlp and pytubefix.

Enters: their requests, through HTTPS_PROXY, under a certificate of its own that SSL_CERT_FILE makes known.
Leaves: pages and answers in YouTube's form for the videos it was given, made up here, with real sound. It shows what
those libraries do on our side of the wire; that YouTube still answers in this form, no test here can show.
"""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

NAMES = "DNS:*.youtube.com,DNS:youtube.com,DNS:*.googlevideo.com,DNS:*.googleapis.com"


@dataclass
class Video:
    """One video. status, reason, subreason: what YouTube says instead of giving it, to yt-dlp only if `ytdlp_only`.

    captions: track -> text, None for an empty answer; a track 'a.sv' is automatic. address: where the
    sound is said to be. page_moved_to: where the video's page redirects. drip: send it for ever, a little at a time."""

    sound: bytes = b""
    title: str = "A talk"
    seconds: int = 5
    live: bool = False
    status: str = "OK"
    reason: str | None = None
    subreason: str | None = None
    ytdlp_only: bool = False
    captions: dict[str, str | None] = field(default_factory=dict)
    declared_bytes: int | None = None
    address: str | None = None
    page_moved_to: str | None = None
    drip: bool = False


class YouTubeServer(ThreadingHTTPServer):
    """Serves `videos` (by id); `asked` lists (host, path), `asked_by` the libraries that asked for a video;
    `hung_up` is set when somebody leaves in the middle of an answer."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.videos: dict[str, Video] = {}
        self.asked: list[tuple[str, str]] = []
        self.asked_by: set[str] = set()
        self.hung_up = threading.Event()
        self.cookies = ""
        self.certificate = _certificate(folder)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate, folder / "key.pem")
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self.server_port}", "SSL_CERT_FILE": str(self.certificate)}

    def handle_error(self, request, client_address) -> None:
        self.hung_up.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: YouTubeServer
    host = ""

    def log_message(self, *arguments) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self) -> None:
        self.server.asked.append((self.host, self.path))
        self.server.cookies = self.headers.get("Cookie", self.server.cookies)
        parts, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
        video = self.server.videos.get(query.get("v", query.get("id", [""]))[0])
        if parts.path == "/watch" and video and video.page_moved_to:
            self._send(b"", "text/html", 302, {"Location": video.page_moved_to})
        elif parts.path == "/watch":
            page = ("<html><script>ytcfg.set({\"INNERTUBE_API_KEY\": \"k\"});</script><script>var ytInitialData = "
                    "{\"contents\": {}};</script></html>")
            self._send(page.encode(), "text/html")
        elif parts.path == "/api/timedtext" and video:
            text = video.captions[query["track"][0]]
            if text is None:
                self._send(b"", "application/json")
                return
            events = [{"tStartMs": 0, "segs": [{"utf8": line}]} for line in text.split("\n")]
            self._send(json.dumps({"wireMagic": "pb3", "events": events}).encode(), "application/json")
        elif parts.path == "/videoplayback" and video:
            self._send_sound(video, query)
        else:
            self._send(b"", "text/plain", 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.asked.append((self.host, self.path))
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/youtubei/v1/player"):
            self._send(b'{"contents": {}, "responseContext": {"visitorData": "x"}}', "application/json")
            return
        video = self.server.videos[asked["videoId"]]
        by_ytdlp = "Sec-Fetch-Mode" in self.headers  # which it sends with everything, and pytubefix never
        self.server.asked_by.add("yt-dlp" if by_ytdlp else "pytubefix")
        refused = video.reason is not None and (by_ytdlp or not video.ytdlp_only)
        answer = _player(asked["videoId"], video, refused)
        self._send(json.dumps(answer).encode(), "application/json")

    def _send(self, body: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_sound(self, video: Video, query: dict) -> None:
        if video.drip:
            self.send_response(200)
            self.send_header("Content-Type", "audio/webm")
            self.send_header("Content-Length", str(10**8))
            self.end_headers()
            while True:
                self.wfile.write(bytes(1000))
                time.sleep(0.05)
        sound, wanted = video.sound, self.headers.get("Range", "").removeprefix("bytes=") or query.get("range", [""])[0]
        if not wanted:
            self._send(sound, "audio/webm")
            return
        first, _, last = wanted.partition("-")
        part = sound[int(first) : int(last) + 1 if last else None]
        about = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(sound)}"}
        self._send(part, "audio/webm", 206 if "Range" in self.headers else 200, about)


def _player(video_id: str, video: Video, refused: bool) -> dict:
    """The answer to a client's request for a video, as far as yt-dlp and pytubefix read it."""
    answer: dict = {"responseContext": {"visitorData": "x"}, "playabilityStatus": {"status": video.status}}
    if refused:
        answer["playabilityStatus"]["reason"] = video.reason
        if video.subreason:
            answer["playabilityStatus"]["errorScreen"] = {"playerErrorMessageRenderer": {
                "reason": {"simpleText": video.reason}, "subreason": {"simpleText": video.subreason}}}
    else:
        answer["playabilityStatus"]["status"] = "OK"
    details = {"videoId": video_id, "title": video.title, "lengthSeconds": str(video.seconds), "author": "Somebody",
               "thumbnail": {"thumbnails": [{"url": f"https://i.ytimg.com/vi/{video_id}/default.jpg"}]}}
    if video.live:
        details |= {"isLive": True, "isLiveContent": True}
    answer["videoDetails"] = details
    if not refused:
        answer["streamingData"] = {"expiresInSeconds": "21540", "adaptiveFormats": [{
            "itag": 251, "mimeType": 'audio/webm; codecs="opus"', "bitrate": 130000, "averageBitrate": 120000,
            "audioQuality": "AUDIO_QUALITY_MEDIUM", "audioSampleRate": "48000", "approxDurationMs": "5000",
            "lastModified": "1",
            "contentLength": str(video.declared_bytes or len(video.sound)),
            "url": video.address or f"https://rr1.googlevideo.com/videoplayback?id={video_id}&itag=251"}]}
        answer["playerConfig"] = {"mediaCommonConfig": {"mediaUstreamerRequestConfig": {
            "videoPlaybackUstreamerConfig": "x"}}}
        answer["captions"] = {"playerCaptionsTracklistRenderer": {"captionTracks": [
            _track(video_id, track) for track in video.captions]}}
    return answer


def _track(video_id: str, track: str) -> dict:
    automatic, language = track.startswith("a."), track.removeprefix("a.")
    found = {"baseUrl": f"https://www.youtube.com/api/timedtext?v={video_id}&track={track}&lang={language}",
             "name": {"simpleText": language}, "languageCode": language, "isTranslatable": True,
             "vssId": track if automatic else f".{language}"}
    return found | ({"kind": "asr"} if automatic else {})


def openssl() -> str | None:
    return shutil.which("openssl")


def _certificate(folder: Path) -> Path:
    subprocess.run([openssl(), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-addext", f"subjectAltName={NAMES}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    return folder / "cert.pem"
