"""Settings: YAML and `key=value` words into checked dataclasses, and what is said about a wrong one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from paths import ROOT

from feature_pipeline.config import load
from feature_pipeline.settings import Many, options_of, parsed, plain, read
from shared.errors import UserError
from training import config as training_config


@dataclass(frozen=True)
class Part:
    share: float = 0.5
    kind: Literal["one", "two"] = "one"
    on: bool = False


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part = field(default_factory=Part)
    maybe: Part | None = None
    parts: Many[Part] = ()
    count: int = 1
    language: str = "en"


def from_yaml(tmp_path: Path, text: str, *overrides: str) -> Whole:
    path = tmp_path / "whole.yaml"
    path.write_text(text, encoding="utf-8")
    return read(Whole, parsed(path, overrides, tmp_path), path.name)


@pytest.mark.parametrize("word", ["no", "NO", "on", "yes", "y", "off", "true"])
def test_a_word_that_yaml_takes_for_a_boolean_stays_text(word, tmp_path):
    assert from_yaml(tmp_path, f"name: x\nlanguage: {word}\n").language == word
    assert from_yaml(tmp_path, "name: x\n", f"language={word}").language == word


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("true", True), ("on", True), ("no", False),
                                             ("off", False)])
def test_the_same_words_are_booleans_where_the_key_is_one(word, value, tmp_path):
    assert from_yaml(tmp_path, f"name: x\npart: {{on: {word}}}\n").part.on is value
    assert options_of(Part, [f"on={word}"]).on is value


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1.0e-4", 1e-4), ("3", 3.0), ("-.5E2", -50.0)])
def test_numbers_as_people_write_them(text, value, tmp_path):
    assert from_yaml(tmp_path, "name: x\n", f"part.share={text}").part.share == value


def test_one_item_stands_for_a_list_of_one(tmp_path):
    assert from_yaml(tmp_path, "name: x\nparts: {kind: two}\n").parts == (Part(kind="two"),)


@pytest.mark.parametrize(("text", "message"), [
    ("name: x\nparts: [{}, {shar: 1}]", r"whole.yaml: parts.1 has an unknown key. Got: shar.*did you mean share\?.*on"),
    ("name: x\nmaybe: {kind: three}", r"whole.yaml: maybe.kind is not one of its values. Got: three.*one, two"),
    ("part: {}", r"whole.yaml lacks name.*legal keys: name, part"),
    ("name: x\npart: 3", r"whole.yaml: part must be a table of keys. Got: 3.*legal keys: share"),
    ("name: 7", r"whole.yaml: name must be text"),
    ("name: x\ncount: true", r"whole.yaml: count must be a whole number. Got: 'true'"),
    ("name: x\ncount: 1.5", r"whole.yaml: count must be a whole number. Got: 1.5"),
    ("name: x\npart: {on: perhaps}", r"part.on must be true or false. Got: 'perhaps'"),
    ("name: x\n1: 2", r"whole.yaml has an unknown key. Got: 1"),
    ("name: [", r"not valid YAML. Got: whole.yaml"),
    ("name: 2026-13-45", r"not valid YAML|must be text"),
    ("- a", "not a table of keys"),
])
def test_a_wrong_setting_is_named_with_its_place(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        from_yaml(tmp_path, text)


def test_what_is_written_out_is_read_back():
    whole = Whole("x", maybe=Part(on=True), parts=(Part(share=0.1),))
    assert read(Whole, plain(whole), "run.json") == whole


def test_norwegian_is_a_language_of_a_build_and_of_a_run(tmp_path):
    build = tmp_path / "b.yaml"
    build.write_text("name: b\nsources: [{kind: folder, path: x, language: no}]\n")
    assert load(build).sources[0].corpus.language == "no"
    assert load(build, ["sources.0.language=no"]).sources[0].corpus.language == "no"
    run = training_config.load(ROOT / "training/configs/my-language.yaml", ["language=no"])
    assert run.language == "no"
    training_config.save(run, tmp_path / "config.yaml")
    assert training_config.load(tmp_path / "config.yaml") == run


@pytest.mark.parametrize("word", ["French", "fr-FR", "fra", "fr", "français"])
def test_a_language_may_be_named_as_people_do(word, tmp_path):
    build = tmp_path / "b.yaml"
    build.write_text("name: b\nsources: [{kind: folder, path: x, language: en}]\n")
    assert load(build, [f"sources.0.language={word}"]).sources[0].corpus.language == "fr"
    assert training_config.load(ROOT / "training/configs/my-language.yaml", [f"language={word}"]).language == "fr"
    with pytest.raises(UserError, match=r"no such language.*Frnch.*French"):
        load(build, ["sources.0.language=Frnch"])
