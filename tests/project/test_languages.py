"""One language, however it is named."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import UserError
from shared.languages import LANGUAGES, language_code, language_name
from shared.languages.names import OTHERS, SPOKEN_BY_WHISPER

LINES = [line.partition(" | ") for line in (SPOKEN_BY_WHISPER + OTHERS).splitlines()]


def test_every_code_and_name_leads_to_one_language():
    for codes, _, names in LINES:
        code, *others = codes.split()
        for text in (code, *others, *(name.strip() for name in names.split(","))):
            assert language_code(text) == code, text
            assert text in ("na", "nan") or language_code(text.upper()) == code, text
    for code, name in LANGUAGES.items():
        assert language_code(name) == code
    assert [codes.split()[0] for codes, _, _ in LINES][: len(LANGUAGES)] == list(LANGUAGES)


@pytest.mark.parametrize("text, code", [
    ("fr-FR", "fr"), ("fr_FR.UTF-8", "fr"), ("zh-CN", "zh"), ("zh-Hant-TW", "zh"), ("zh-yue", "yue"), ("nb-NO", "no"),
    ("sr-Latn", "sr"), ("pt_BR", "pt"), (" Francais ", "fr"), ("no", "no"), (False, "no"), ("jv", "jw"), ("ga", "ga"),
    ("nan-tw", "nan"),
])
def test_tags_and_what_yaml_makes_of_no(text, code):
    assert language_code(text) == code


@pytest.mark.parametrize("text, nearest", [("frensh", "French (fr)"), ("swedisch", "Swedish (sv)"), ("klingon", ""),
                                           ("", "nothing"), ("qq", "qq"), ("True", ""), (True, "True")])
def test_what_is_no_language_is_refused_with_the_nearest_names(text, nearest):
    with pytest.raises(UserError, match="There is no such language") as refused:
        language_code(text)
    assert nearest in str(refused.value)


@pytest.mark.parametrize("text", ["n/a", "N/A", "NA", "NaN", "<NA>", "none", "None", "null", "unknown", "und", "UND",
                                  "mul", "zxx", "mis", "xx", "und-Latn", "mul_Latn", " und ", "multilingual", None])
def test_what_stands_for_no_language_is_refused(text):
    """In tables, tags and cards; "n/a" was Nauru, "NaN" Min Nan."""
    with pytest.raises(UserError, match=r"names no single language.*What to do: name the language that is spoken"):
        language_code(text)


@pytest.mark.parametrize("text", ["e/n", "f.r", "N.A.", "n-a", "(en)", "e n", "-", "...", "en,fr", "en/fr", "fr;en"])
def test_a_code_is_written_without_marks(text):
    with pytest.raises(UserError, match="There is no such language"):
        language_code(text)


def test_python_takes_the_same_names(base):
    silence = np.zeros(16_000, np.float32)
    for text, code in (("français", "fr"), ("no", "no"), ("fr-FR", "fr")):
        assert base.transcribe(silence, language=text).language == code
    with pytest.raises(UserError, match=r"Frisian|French"):
        base.transcribe(silence, language="frensh")


def test_a_checkpoint_may_know_more():
    assert language_code("qaa", also=("qaa",)) == "qaa"
    assert language_name("ga") == "Irish" and language_name("sv") == "Swedish" and language_name("qaa") == "qaa"
