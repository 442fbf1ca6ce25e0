"""OpenAI's audio API at the suite's own address."""

from __future__ import annotations

import httpx
import openai
from running_app import running_app
from speech import clips

from shared.wer import word_errors


def test_the_suite_answers_openais_client_and_its_pages_go_on():
    app = running_app()
    clip = clips("it")[1]
    client = openai.OpenAI(api_key="none", base_url=f"{app.address}/v1", max_retries=0)
    found = client.audio.transcriptions.create(model="whisper-1", file=clip.path, language="it")
    assert word_errors(clip.text, found.text, "it").wer < 0.3
    assert {"base", "whisper-1"} <= {model.id for model in client.models.list()}
    assert httpx.get(f"{app.address}/health").json() == {"status": "ok", "models": "loaded"}
    assert "<html" in httpx.get(f"{app.address}/").text.lower()


def test_another_name_does_not_reach_it():
    address = f"{running_app().address}/v1/models"
    assert httpx.get(address, headers={"host": "rebound.example"}).status_code == 403
    assert httpx.get(address, headers={"origin": "https://elsewhere.example"}).status_code == 403
