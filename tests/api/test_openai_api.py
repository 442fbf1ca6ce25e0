"""The OpenAI-compatible API with OpenAI's own client, against a server that really listens."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from corpora import wav
from speech import clips, joined

from shared.api import LINKS, Busy, Queue, Settings, create_app
from shared.serving import Limits, Serving
from shared.system.temporary import temporary_root
from shared.wer import word_errors

ITALIAN, ENGLISH = clips("it")[1], clips("en")[0]
KEY, MAX_BYTES = "secret key", 4_000_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The server's address, with two places to wait and a limit of 4 MB."""
    served = Serving("embedded:whisper-base", "embedded:whisper-base-it", limits=Limits(600, MAX_BYTES))
    app = create_app(served, Settings(KEY), waiting=Queue(places=2))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0)


def wer(text: str, clip=ITALIAN) -> float:
    return word_errors(clip.text, text, clip.language).wer


def left_over() -> list[Path]:
    return list(temporary_root().glob("api-*"))


def test_text_of_a_recording(client):
    found = client.audio.transcriptions.create(model="whisper-1", file=ITALIAN.path, language="it")
    assert wer(found.text) < 0.3 and found.usage.seconds == pytest.approx(4.5, abs=1)
    assert left_over() == []


def test_every_form(client):
    made = {form: client.audio.transcriptions.create(model="fine-tuned", file=ITALIAN.path, language="italian",
                                                     response_format=form)
            for form in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")}
    text = made["json"].text
    assert made["text"].strip() == text == made["verbose_json"].text == made["diarized_json"].text
    assert made["srt"].startswith("1\n00:00:0") and made["vtt"].startswith("WEBVTT")
    assert made["verbose_json"].language == "italian" and made["verbose_json"].segments[0].end > 1
    assert made["verbose_json"].words is None
    assert made["diarized_json"].segments[0].speaker == "Speaker 1"


def test_words_with_times(client):
    found = client.audio.transcriptions.create(
        model="whisper-1", file=ITALIAN.path, response_format="verbose_json", timestamp_granularities=["word"])
    assert found.segments is None and " ".join(word.word for word in found.words) == found.text
    assert all(0 <= word.start <= word.end <= found.duration for word in found.words)


def test_which_checkpoint_answers_is_reported(client):
    def raw(**options):
        return client.audio.transcriptions.with_raw_response.create(**options)

    assert raw(model="whisper-1", file=ITALIAN.path).headers["x-checkpoint"] == "embedded:whisper-base-it"
    english = raw(model="whisper-1", file=ENGLISH.path)
    assert english.headers["x-checkpoint"] == "embedded:whisper-base" and "English" in english.headers["x-notice"]
    assert raw(model="base", file=ITALIAN.path).headers["x-checkpoint"] == "embedded:whisper-base"
    names = [model.id for model in client.models.list()]
    assert names[0] == "whisper-1" and {"base", "fine-tuned", "whisper-base-it"} <= set(names)
    assert client.models.retrieve("whisper-base").id == "whisper-base"


def test_translation(client):
    found = client.audio.translations.create(model="whisper-1", file=ITALIAN.path)
    assert {"message", "messages", "mailbox", "user"} & set(found.text.lower().replace(".", "").split())


def test_a_prompt_is_taken(client):
    plain = client.audio.transcriptions.create(model="base", file=ENGLISH.path, language="en").text
    other = client.audio.transcriptions.create(model="base", file=ENGLISH.path, language="en",
                                               prompt=f"{'words in capitals '.upper() * 12}").text
    assert other != plain


def test_hotwords_are_a_field_beside_openais(client):
    clip = clips("en")[0]
    led = client.audio.transcriptions.create(model="base", file=clip.path, language="en",
                                             extra_body={"hotwords": "Gandalf, ill-disposed"}).text
    assert "not an ill-disposed young man" in led
    with pytest.raises(openai.BadRequestError, match="no letter"):
        client.audio.transcriptions.create(model="base", file=clip.path, extra_body={"hotwords": "Gandalf, 7"})


def test_text_comes_while_it_is_decoded(client):
    sound = wav(joined([clip.path for clip in clips("it")] * 4, pause=1.5).samples)
    begun, deltas, done = time.monotonic(), [], None
    for event in client.audio.transcriptions.create(model="fine-tuned", file=("long.wav", sound), language="it",
                                                    stream=True):
        if event.type == "transcript.text.delta":
            deltas.append((time.monotonic() - begun, event.delta))
        else:
            assert event.type == "transcript.text.done"
            done = event.text, time.monotonic() - begun
    assert len(deltas) > 1 and "".join(delta for _, delta in deltas) == done[0]
    assert deltas[0][0] < done[1]
    assert left_over() == []


def test_the_asynchronous_client(address):
    async def both() -> list[str]:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0) as client:
            found = await asyncio.gather(*(client.audio.transcriptions.create(
                model="whisper-1", file=clip.path, language=clip.language) for clip in (ITALIAN, ENGLISH)))
            stream = await client.audio.transcriptions.create(model="whisper-1", file=ITALIAN.path, language="it",
                                                              stream=True)
            last = [event async for event in stream][-1]
            return [*(one.text for one in found), last.text]

    italian, english, streamed = asyncio.run(both())
    assert wer(italian) < 0.3 and wer(english, ENGLISH) < 0.3 and streamed == italian


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"file": ("bad.mp3", b"not sound")}, openai.BadRequestError, "sound or video"),
    ({"file": ("empty.mp3", b"")}, openai.BadRequestError, "empty"),
    ({"language": "klingon-ish"}, openai.BadRequestError, "language"),
    ({"response_format": "docx"}, openai.BadRequestError, "response_format"),
    ({"timestamp_granularities": ["letter"]}, openai.BadRequestError, "granularity"),
    ({"model": "nobody/nothing"}, openai.NotFoundError, "does not exist"),
    ({"file": ("big.wav", bytes(MAX_BYTES + 2_000_000))}, openai.APIStatusError, "too large.*Limit: 4"),
])
def test_what_cannot_be_used_is_reported(client, options, error, message):
    with pytest.raises(error, match=message) as refusal:
        client.audio.transcriptions.create(**({"model": "whisper-1", "file": ITALIAN.path} | options))
    assert str(temporary_root()) not in str(refusal.value) and "Traceback" not in str(refusal.value)
    assert left_over() == []
    assert wer(client.audio.transcriptions.create(model="whisper-1", file=ITALIAN.path).text) < 0.3


def test_a_broken_file_in_a_stream_is_an_error_of_the_stream(client):
    with pytest.raises(openai.APIError, match="sound or video"):
        list(client.audio.transcriptions.create(model="whisper-1", file=("bad.mp3", b"no sound"), stream=True))


def test_streams_that_are_left_at_any_moment_leave_nothing(address):
    host, port = address.removeprefix("http://").split(":")
    bad = {"file": ("a.mp3", b"no sound")}
    request = httpx.Request("POST", f"{address}/v1/audio/transcriptions", data={"model": "whisper-1", "stream": "true"},
                            files=bad, headers={"authorization": f"Bearer {KEY}"})
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.read()
    for n in range(60):  # from before the answer begins to after its end
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(body)
            time.sleep(n / 1000)
    deadline = time.monotonic() + 20
    while left_over():
        assert time.monotonic() < deadline, left_over()
        time.sleep(0.05)


def test_keys(address):
    for key in ("wrong", "secret", KEY + "x"):
        stranger = openai.OpenAI(api_key=key, base_url=f"{address}/v1", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            stranger.audio.transcriptions.create(model="whisper-1", file=ITALIAN.path)
    assert httpx.get(f"{address}/health").json() == {"status": "ok", "models": "loaded"}


def test_another_host_name_is_refused(address):
    for headers in ({"host": "rebound.example"}, {"origin": "http://elsewhere.example"}, {"origin": "null"}):
        assert httpx.get(f"{address}/health", headers=headers).status_code == 403
        answer = httpx.post(f"{address}/v1/audio/transcriptions", files={"file": b"x"}, data={"model": "whisper-1"},
                            headers=headers | {"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 403
    assert httpx.get(f"{address}/health", headers={"host": "[::1]:8000", "origin": "http://localhost:3000"}).is_success


def test_a_client_that_leaves_ends_its_work_and_others_are_told_to_wait(address, client):
    sound = wav(joined([clip.path for clip in clips("it")] * 2, pause=1.0).samples)
    leaving = openai.OpenAI(api_key=KEY, base_url=f"{address}/v1", max_retries=0, timeout=0.5)
    outcomes: list[type] = []

    def ask() -> None:
        try:
            leaving.audio.transcriptions.create(model="whisper-1", file=("a.wav", io.BytesIO(sound)), language="it")
        except openai.OpenAIError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert openai.RateLimitError in outcomes and openai.APITimeoutError in outcomes
    deadline = time.monotonic() + 60
    while True:  # those who left hold no place
        try:
            assert wer(client.audio.transcriptions.create(model="whisper-1", file=ITALIAN.path).text) < 0.3
            break
        except openai.RateLimitError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    while left_over():  # of those who left, once their threads have noticed
        assert time.monotonic() < deadline, left_over()
        time.sleep(0.05)


def test_one_visitor_does_not_fill_the_queue():
    async def fill() -> None:
        waiting = Queue(places=4, places_for_each=2)  # beside the one that is worked on
        go, over = threading.Event(), threading.Event()

        async def here() -> bool:
            return over.is_set()

        asked = [asyncio.ensure_future(waiting.run(lambda cancel: go.wait(20), here, "a")) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy, match=r"of your requests are waiting already\. Got: 2"):
            waiting.check("a")
        waiting.check("a", LINKS)  # where nobody waits
        asked += [asyncio.ensure_future(waiting.run(lambda cancel: go.wait(20), here, who)) for who in "bc"]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy, match=r"Too many requests are waiting already\. Got: 4"):
            await waiting.run(lambda cancel: None, here, "d")
        go.set()
        assert await asyncio.gather(*asked) == [True] * 5
        waiting.check("a")

    asyncio.run(fill())
