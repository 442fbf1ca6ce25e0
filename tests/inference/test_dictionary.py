"""Dictionaries: how one is found and what it knows, and what a search makes of it on real speech."""

from __future__ import annotations

from pathlib import Path

import pytest
from dictionaries import dictionary_of_clips, write_dictionary
from speech import clips

from shared.audio import load_audio
from shared.audio.features import log_mel, pad_or_trim
from shared.checkpoint.embedded import embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import UNBIASED, Bias
from shared.engines.spelling import BEGUN, PENALTY, Spelling
from shared.errors import UserError
from shared.lexicon import Dictionary, dictionary_for, dictionary_of, languages_of
from shared.lexicon.dictionary import MIN_WORDS
from shared.live import LiveTranscriber
from shared.options import Options
from shared.serving import Request, ServingInBackground
from shared.wer import word_errors

TOKENS = tokens_of(embedded_base_transformers())
(SPANISH,) = clips("es")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where dictionaries are installed."""
    place = tmp_path / "hunspell"
    place.mkdir()
    monkeypatch.setenv("DICPATH", str(place))
    return place


@pytest.fixture
def spanish(folder) -> Path:
    return dictionary_of_clips(folder, "es_XX", "es")


def known(*paths: Path, language: str = "en", hotwords: tuple[str, ...] = ()) -> Dictionary:
    dictionary = dictionary_for(dictionary_of(map(str, paths)), language, hotwords)
    assert dictionary is not None
    return dictionary


def test_what_is_known(folder, tmp_path):
    """Words by hunspell's rules, lists in any case, parts of what is joined, and what no dictionary can list."""
    italian = write_dictionary(folder, "it_IT", ["dell'", "utente", "casa", "pesce", "Roma", "l'", "amico/S", "dell"])
    (tmp_path / "terms.txt").write_text("Latenza, jitter", encoding="utf-8-sig")
    words = known(italian, tmp_path / "terms.txt", language="it")
    for word in ("utente", "Utente", "UTENTE", "dell'utente", "dell’utente", "l'amicos", "casa-pesce", "Roma",
                 "latenza", "JITTER", "x", "8-bit", "2026", "dell'x"):
        assert words.knows(word), word
    for word in ("utentes", "roma", "del'utente", "dell'utentte", "casa-pescce", "日本", "latenze", "casapesce"):
        assert not words.knows(word), word
    assert words.knows("utente") and not words.knows("utentes")  # as remembered


def test_a_dictionary_of_eight_bits_knows_no_other_letters(folder):
    greek = known(write_dictionary(folder, "el_GR", ["σκαντζόχοιρος", "γάτα"], "ISO8859-7"), language="el")
    assert greek.knows("γάτα") and greek.knows("Γάτα")
    assert not greek.knows("кот") and not greek.knows("γατα") and not greek.knows("日本")


def test_words_of_hotwords_count_as_known(folder):
    words = known(write_dictionary(folder, "en_XX", ["the"]), hotwords=("Mines of Moria", "C#"))
    assert all(map(words.knows, ("the", "moria", "Mines"))) and not words.knows("Gandalf")


def test_a_name_is_looked_for_where_dictionaries_are(folder):
    for name in ("ru_RU", "ru", "de_AT", "de_DE", "pt_PT_long", "medical"):
        write_dictionary(folder, name, ["word"])
    found = {name: Path(*dictionary_of(name)).name for name in ("ru", "ru_RU", "de", "Russian", "pt", "por", "medical")}
    assert found == {"ru": "ru.dic", "ru_RU": "ru_RU.dic", "de": "de_DE.dic", "Russian": "ru_RU.dic",
                     "pt": "pt_PT_long.dic", "por": "pt_PT_long.dic", "medical": "medical.dic"}
    both = dictionary_of(f"ru_RU, {folder / 'de_AT.dic'},ru_RU, medical")
    assert [Path(path).stem for path in both] == ["ru_RU", "de_AT", "medical"] == [
        Path(path).stem for path in dictionary_of(both)]
    assert languages_of(both) == {"ru", "de"} and languages_of(both[2:]) == frozenset()
    assert dictionary_for(both, "uk") is None and dictionary_for(both, "de") is not None
    assert dictionary_of(None) == Options().dictionary == ()
    assert dictionary_of("en_US")[0].endswith("en_US.dic")  # comes with the library


@pytest.mark.parametrize(("given", "message"), [
    ("", "No dictionary is named"), (" , ", "No dictionary is named"), ([], "No dictionary is named"),
    ("xx", r"No dictionary of that name is installed.*xx.*English.*hunspell-xx"), ("Klingon", "is installed"),
    ("nowhere/ru.dic", "no such dictionary"), ("terms.lst", "no such dictionary"),
    ("{folder}/lone.dic", r"one is missing.*lone\.aff"), ("{folder}/empty.dic", "none of its own words"),
    ("{folder}/short.txt", f"too short to stand alone.*2.*{MIN_WORDS} words"), ("{folder}/latin.txt", "not UTF-8"),
    ("{folder}/folder.dic", "no such dictionary"), ("{folder}/CAPITAL.DIC", "cannot be opened"),
])
def test_what_is_no_dictionary_is_refused(folder, given, message):
    (folder / "lone.dic").write_text("1\nword\n")
    write_dictionary(folder, "empty", [])
    (folder / "short.txt").write_text("two words")
    (folder / "latin.txt").write_bytes("naïve".encode("latin-1"))
    (folder / "folder.dic").mkdir()
    (folder / "CAPITAL.DIC").write_text("1\nword\n")
    (folder / "CAPITAL.aff").write_text("SET UTF-8\n")
    with pytest.raises(UserError, match=message):
        Options.of(dictionary=given.replace("{folder}", str(folder)) if isinstance(given, str) else given)


def test_a_list_of_a_whole_language_stands_alone_and_is_read_anew_when_it_changes(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}"
                              for n in range(MIN_WORDS)))
    given = dictionary_of(str(path))
    assert dictionary_for(given, "sv").knows("wordaaa") and not dictionary_for(given, "sv").knows("new")
    path.write_text(path.read_text() + " new")
    assert dictionary_for(given, "sv").knows("new")
    path.unlink()
    with pytest.raises(UserError, match="is gone"):
        dictionary_for(given, "sv")


def cost(spelling: Spelling, text: str, *, end: bool = True) -> float:
    """Of a text; "|" stands for two timestamps."""
    spelled = BEGUN
    parts = [TOKENS.encode(part) for part in text.split("|")]
    ids = parts[0] + [i for part in parts[1:] for i in (TOKENS.first_stamp + 60, TOKENS.first_stamp + 60, *part)]
    for token in [*ids, *([TOKENS.end] if end else [])]:
        spelled = spelling.after(spelled, token)
    return spelled.cost / PENALTY


@pytest.mark.parametrize(("text", "n_unknown"), [
    (" the cats", 0), (" the catts", 1), (" The catts, the dogg!", 2), (" the cat's", 0), (" ill-disposed cats", 1),
    (" Σκατζόχυρος", 1), (" cat|catts|", 1), ("(the cats)", 0), ("日本", 1), (" - 'the' cats...", 0), ("", 0),
])
def test_a_word_is_paid_for_once_and_when_it_is_complete(folder, text, n_unknown):
    spelling = Spelling(TOKENS, known(write_dictionary(folder, "en_XX", ["the", "cat/S", "dog/S", "ill"])))
    assert cost(spelling, text) == n_unknown
    if text == " the catts":
        assert cost(spelling, text, end=False) == 0


def test_the_search_is_the_beam_where_unknown_words_cost_nothing(base_torch, spanish):
    """And where they do, the confidence is the model's own."""
    engine = base_torch.window_decoder.engine
    sound = load_audio(SPANISH.path).samples
    states = engine.encode([pad_or_trim(log_mel(sound), 2 * (len(sound) // 320) + 200)])
    how = {"prompt": TOKENS.prompt("es", "transcribe", timestamps=False), "beam_size": 5, "max_tokens": 40}
    words = known(spanish, language="es")
    plain, free, led = (engine.decode(states, bias=bias, **how)[0] for bias in (
        UNBIASED, Bias(spelling=Spelling(TOKENS, words, 0.0)), Bias(spelling=Spelling(TOKENS, words))))
    assert free.tokens == plain.tokens and free.avg_logprob == pytest.approx(plain.avg_logprob, abs=1e-5)
    assert led.tokens != plain.tokens and plain.avg_logprob - 1 < led.avg_logprob < plain.avg_logprob


def test_words_are_spelled_as_the_language_has_them(base_torch, spanish):
    """The model hears "enlasar"; the wider beam alone does not mend that."""
    texts = [base_torch.transcribe(SPANISH.path, language="es", **how).text
             for how in ({}, {"beam_size": 5}, {"dictionary": str(spanish)}, {"dictionary": "es", "words": True})]
    errors = [word_errors(SPANISH.text, text, "es").errors for text in texts]
    assert errors[0] > errors[1] > errors[2] == errors[3] == 0 and "enlasar" in texts[1]
    (each,) = base_torch.transcribe_each([SPANISH.path], language="es", dictionary="es")
    assert each.text == texts[2]


def test_live_text_is_spelled_so_too(base_torch, spanish):
    live = LiveTranscriber(base_torch, Options.of(language="es", dictionary=str(spanish)))
    live.insert(load_audio(SPANISH.path).samples)
    live.process()
    assert word_errors(SPANISH.text, live.finish().transcript.text, "es").errors == 0


def test_hotwords_and_a_dictionary_go_together(base_torch, folder):
    """An entry of the list is found and the words around it are spelled right; neither takes from the other."""
    dictionary_of_clips(folder, "en_XX", "en")
    clip = clips("en")[0]
    text = base_torch.transcribe(clip.path, language="en", dictionary="en_XX", hotwords="ill-disposed, Gandalf").text
    assert word_errors(clip.text, text, "en").errors == 0
    spelled = dictionary_of_clips(folder, "es_XX", "es")
    led = base_torch.transcribe(SPANISH.path, language="es", dictionary=str(spelled), hotwords="Zaragoza, enlazar")
    assert word_errors(SPANISH.text, led.text, "es").errors == 0


def test_a_dictionary_of_another_language_is_refused_or_not_used(base, base_torch, spanish):
    for asked, who, message in (({"language": "it"}, base_torch, "No dictionary of this language.*Italian.*Spanish"),
                                ({"task": "translate", "language": "es"}, base_torch, "of this language.*English"),
                                ({"language": "ja"}, base_torch, "no spaces part the words"),
                                ({"language": "es"}, base, "cannot follow a dictionary.*engine torch")):
        with pytest.raises(UserError, match=message):
            who.transcribe(SPANISH.path, dictionary="es_XX", **asked)
    clip = clips("it")[0]
    found = base_torch.transcribe(clip.path, dictionary="es_XX")
    assert found.language == "it" and found.text == base_torch.transcribe(clip.path).text


def test_a_server_follows_its_own_dictionary(base, base_torch, spanish, monkeypatch):
    """Where a request's language has one; a comparison goes without, and so does an engine that was asked for."""
    served = ServingInBackground("embedded:whisper-base", "embedded:whisper-base")
    served.base, served.fine_tuned = base_torch, None
    served.follow(dictionary_of("es_XX"))
    plain = base_torch.transcribe(SPANISH.path, language="es").text
    answer = served.transcribe(Request(SPANISH.path, Options("es")))
    assert word_errors(SPANISH.text, answer.transcript.text, "es").errors == 0 and answer.notice is None
    for answer in served.transcribe_each([Request(SPANISH.path, Options("es"))] * 2):
        assert word_errors(SPANISH.text, answer.transcript.text, "es").errors == 0
    named = served.transcribe(Request(SPANISH.path, Options("es"), checkpoint="base"))
    assert word_errors(SPANISH.text, named.transcript.text, "es").errors == 0
    english = clips("en")[0]
    assert served.transcribe(Request(english.path, Options("en"))).transcript.text == \
        base_torch.transcribe(english.path, language="en").text
    compared = served.transcribe_with(base_torch.checkpoint, Request(SPANISH.path, Options("es"), engine="torch"))
    assert word_errors(plain, compared.transcript.text, "es").wer < 0.5  # 8 bits, greedy
    assert served.transcribe(Request(SPANISH.path, Options("es"), engine="ctranslate2")).transcript.text
    served.base = base
    with pytest.raises(UserError, match="engine torch"):
        served.follow(dictionary_of("es_XX"))
