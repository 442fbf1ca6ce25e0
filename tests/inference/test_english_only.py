"""Checkpoints that know English only: one token fewer, no language and no task in the prompt."""

from __future__ import annotations

import json
import shutil

import pytest
from speech import clips

from shared.checkpoint import Checkpoint
from shared.checkpoint.embedded import embedded_base_transformers
from shared.errors import UserError
from shared.inference import Transcriber

ITALIAN, ENGLISH = clips("it"), clips("en")


@pytest.fixture(scope="module")
def english_only(tmp_path_factory) -> str:
    """whisper-base in the form of an English-only checkpoint: one token fewer, so every special id one lower."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "base.en"
    shutil.copytree(embedded_base_transformers(), folder)
    state = load_file(folder / "model.safetensors")
    name = "model.decoder.embed_tokens.weight"
    state[name] = state[name][[i for i in range(len(state[name])) if i != 50256]].clone()
    state.pop("proj_out.weight", None)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {token: i - (i > 50256) for token, i in vocabulary.items() if i != 50256}
    for token in tokenizer["added_tokens"]:
        token["id"] -= 1
    for special in tokenizer["post_processor"].get("special_tokens", {}).values():
        special["ids"] = [i - 1 for i in special["ids"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    config |= {"vocab_size": 51864, "eos_token_id": 50256, "bos_token_id": 50256, "pad_token_id": 50256,
               "decoder_start_token_id": 50257}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink()
    return str(folder)


@pytest.mark.parametrize("engine", ["ctranslate2", "torch"])
def test_english_only_checkpoints(english_only, engine):
    transcriber = Transcriber(Checkpoint.parse(english_only), engine=engine, device="cpu")
    assert transcriber.languages == ("en",)
    prompt = transcriber.tokens.prompt("en", "transcribe", timestamps=True)
    assert prompt == [transcriber.tokens.start]
    transcript = transcriber.transcribe(ENGLISH[1].path)  # these weights want a language, so no bound on the text
    assert transcript.language == "en" and transcript.duration > 4
    with pytest.raises(UserError, match="cannot translate"):
        transcriber.transcribe(ENGLISH[0].path, task="translate")
    with pytest.raises(UserError, match="language"):
        transcriber.transcribe(ENGLISH[0].path, language="it")
