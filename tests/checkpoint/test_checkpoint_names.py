"""Every way to name weights, and the languages that a card names."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.checkpoint import Checkpoint, configured, facts
from shared.errors import UserError


def test_names():
    assert Checkpoint.parse("openai/whisper-small") == Checkpoint("openai/whisper-small")
    assert str(Checkpoint.parse("a/b@" + "0" * 40)) == "a/b@" + "0" * 40
    assert Checkpoint.parse("embedded:whisper-base").origin == "embedded"
    assert Checkpoint.parse(str(Path(__file__).parent)).origin == "folder"
    assert Checkpoint.parse("a/b@" + "1" * 40).describe() == "a/b (Hugging Face Hub at commit 11111111)"
    for wrong in ("", "no-such-thing", "a/b/c", "embedded:nothing", "../../nothing", "~nobody", "~nobody/x"):
        with pytest.raises(UserError, match="What to do"):
            Checkpoint.parse(wrong)


def test_names_as_people_write_them():
    commit = "a" * 40
    for address in ("https://huggingface.co/me/x", "hf.co/me/x", "https://hf.co/me/x/tree/main/", "hf://me/x", '"me/x"',
                    f"https://huggingface.co/me/x/tree/{commit}", f"https://huggingface.co/me/x/blob/{commit}/README.md",
                    "https://huggingface.co/me/x?library=transformers"):
        found = Checkpoint.parse(address)
        assert found.model_id == "me/x" and found.revision in (None, "main", commit), address
    assert Checkpoint.parse(f"https://huggingface.co/me/x/commit/{commit}").revision == commit
    for wrong in ("https://huggingface.co/datasets/a/b", "https://huggingface.co/spaces/a/b", "https://huggingface.co/me",
                  "https://e.org/me/x"):
        with pytest.raises(UserError, match="names no checkpoint"):
            Checkpoint.parse(wrong)
    with pytest.raises(UserError, match="openai/whisper-large-v3 is its id"):
        Checkpoint.parse("large-v3")
    for missing in ("./runs/x", "../x", "/no/such", "~/no-such"):
        with pytest.raises(UserError, match="no such folder"):
            Checkpoint.parse(missing)


def test_a_run_is_its_model_and_a_file_is_no_checkpoint(tmp_path):
    for name in ("run/model", "run/evaluation", "trainer/checkpoint-100", "trainer/checkpoint-20", "empty/other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("run/model/config.json", "trainer/checkpoint-100/config.json",
                 "trainer/checkpoint-20/adapter_config.json"):
        (tmp_path / name).write_text("{}")
    assert Checkpoint.parse(str(tmp_path / "run")).model_id == str(tmp_path / "run" / "model")
    assert Checkpoint.parse(str(tmp_path / "empty")).model_id == str(tmp_path / "empty")
    with pytest.raises(UserError, match=r"holds some.*checkpoint-20, checkpoint-100"):
        Checkpoint.parse(str(tmp_path / "trainer"))
    for name, hint in (("ggml-base.bin", "GGML"), ("large.pt", r"OpenAI's \.pt"),
                       ("model.safetensors", "folder it lies")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=hint):
            Checkpoint.parse(str(tmp_path / name))


def test_what_is_served_where(monkeypatch):
    for name in ("BASE", "FINE_TUNED", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    assert configured() == ("embedded:whisper-base", "embedded:whisper-base-it")
    monkeypatch.setenv("SPACE_ID", "me/suite")
    assert all(Checkpoint.parse(name).origin == "Hub" for name in configured())
    monkeypatch.setenv("FINE_TUNED", "me/whisper@" + "a" * 40)
    assert configured()[1] == "me/whisper@" + "a" * 40


def test_card_languages(tmp_path):
    for card, languages in {
        "---\nlanguage: sv\n---": ("sv",), "---\nlanguage:\n- hi\n- en\nlicense: mit\n---": ("hi", "en"),
        "---\nlicense: mit\n---": None, "# no front matter": None,
        "---\nlanguage: multilingual\n---": None, "---\nlanguage: swedish\n---": ("sv",),
        "---\nlanguage:\n- Swedish\n- multilingual\n- nb-NO\n---": ("sv", "no"),
        "---\nlanguage: no\n---": ("no",), "---\nlanguage: [en, 'fr-FR', null, 3]\n---": ("en", "fr"),
        "---\r\nlanguage: ga\r\n---": ("ga",), "---\nlanguage: {a: b}\n---": None, "---\nlanguage: [\n---": None,
        "---\nlanguage:\nlicense: mit\n---": None,
        "---\nlanguage:\n" + "\n".join(f"- {a}{b}" for a in "abcde" for b in "fghij") + "\n---": None,
    }.items():
        (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
        (tmp_path / "README.md").write_text(card + "\n# Card\n")
        assert facts(tmp_path).languages == languages
