"""The same tools as endpoints of the app's own API, with Gradio's client."""

from __future__ import annotations

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from running_app import running_app
from tool_calls import ITALIAN, NAMES, SOUND, wer


@pytest.fixture(scope="module")
def address() -> str:
    return running_app().address


@pytest.fixture
def client(address) -> Client:
    return Client(address, verbose=False)


def test_the_endpoints_are_the_tools_and_nothing_else_is_listed(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(named) == [f"/{name}" for name in NAMES]
    for name, endpoint in named.items():
        needed = [one["parameter_name"] for one in endpoint["parameters"] if not one["parameter_has_default"]]
        assert needed == {"/transcribe": ["audio"], "/transcribe_link": ["link"], "/compare": ["audio"]}.get(name, [])
        assert [one["label"] for one in endpoint["returns"]] == ["result"]
        assert all(len(one["python_type"]["description"]) > 20 for one in endpoint["parameters"])


def test_nothing_but_the_sound_must_be_given(client):
    found = client.predict(handle_file(str(SOUND)), api_name="/transcribe")
    assert found["language"] == "it" and wer(found["text"]) < 0.3
    compared = client.predict(audio=handle_file(str(SOUND)), reference=ITALIAN.text, api_name="/compare")
    assert [side["name"] for side in compared["sides"]] == ["Base", "Fine-tuned"]
    assert client.predict(api_name="/models")["models"][0]["role"] == "base"


def test_an_endpoint_says_what_is_wrong(client):
    with pytest.raises(AppError, match=r"no such file. Got: <i>\.mp3"):
        client.predict(audio="/nowhere/<i>.mp3", api_name="/transcribe")
    with pytest.raises(AppError, match="`beam_size` cannot be used"):
        client.predict(audio=str(SOUND), beam_size=0, api_name="/transcribe")
