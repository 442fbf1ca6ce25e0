"""Hotwords: the list as it is given, the trie, and what greedy and beam search make of it on real speech."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from speech import clips

from shared.audio import load_audio
from shared.audio.features import log_mel, pad_or_trim
from shared.audio.windows import Window
from shared.checkpoint.embedded import embedded_base_transformers
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import Bias
from shared.engines.hotword_trie import Bonus, HotwordTrie, Progress, Walker
from shared.engines.torch_engine import TorchEngine
from shared.errors import Cancelled, UserError
from shared.lexicon import MAX_ENTRIES, MAX_LETTERS, hotwords_of, read_hotwords
from shared.options import Options
from shared.serving import Request, ServingInBackground

FOLDER = embedded_base_transformers()
TOKENS = tokens_of(FOLDER)
BONUS = Bonus(entry=2.0, token=1.0)
ENGLISH = clips("en")
ABSENT = ("Gandalf", "Mines of Moria", "TCP/IP", "Zaragoza", "he was not there", "Unlessing", "amiables")


def walked(trie: HotwordTrie, text: str, *, end: bool = True) -> Progress:
    """A text's way through a trie. "|" stands for a closing and an opening timestamp."""
    walker, progress = Walker(trie, TOKENS.end, TOKENS.first_stamp), Progress()
    parts = [TOKENS.encode(part) for part in text.split("|")]
    ids = parts[0] + [i for part in parts[1:] for i in (TOKENS.first_stamp + 60, TOKENS.first_stamp + 60, *part)]
    for token in [*ids, *([TOKENS.end] if end else [])]:
        progress = walker.after(progress, token)
    return progress


def worth(entry: str) -> float:
    return BONUS.of(len(TOKENS.encode(f" {entry}")), 1)


def test_one_of_very_many_entries_is_worth_less():
    """By 1 with ten times as many, from 100 on: a long list costs texts without its words little."""
    others = [f"{one}{two}{three}" for one in "abcdefghij" for two in "klmnopqrst" for three in "uvwxyzabcd"]

    def in_a_list_of(n_entries: int) -> float:
        node = HotwordTrie(TOKENS, ["Gandalf", *others[: n_entries - 1]], bonus=BONUS).spaced
        for token in TOKENS.encode(" Gandalf"):
            node = node.children[token]
        return node.bonus

    assert in_a_list_of(1) == in_a_list_of(100) == worth("Gandalf")
    assert in_a_list_of(1000) == pytest.approx(worth("Gandalf") - 1)


@pytest.mark.parametrize(("entries", "text", "earned"), [
    (["Gandalf"], " I saw Gandalf.", ["Gandalf"]),
    (["Gandalf"], " I saw Gandalf", ["Gandalf"]),
    (["Gandalf"], " I saw Gandalfian men.", []),  # goes on: another word
    (["Gandalf"], " I saw Gandor.", []),  # breaks off
    (["Gandalf"], " Gandalf's hat, Gandalf's staff", ["Gandalf", "Gandalf"]),
    (["New York"], " in New Yorker style", []),
    (["New York", "New York Times"], " the New York Times.", ["New York Times"]),  # the longer one, once
    (["New York", "New York Times"], " the New York post.", ["New York"]),
    (["New York Times"], " the New York post.", []),
    (["New York City", "York"], " the New York post.", ["York"]),  # begins within another that breaks off
    (["voicemail"], " Voicemail is on.", ["Voicemail"]),  # as a sentence begins
    (["Voicemail"], " the voicemail", []),  # in no other spelling than the one given
    (["New York"], " in New| York now", ["New York"]),  # a timestamp between two words
    (["Gandalf"], " in Gand|alf now", []),
])
def test_only_whole_entries_earn(entries, text, earned):
    trie = HotwordTrie(TOKENS, entries, bonus=BONUS)
    assert walked(trie, text).earned == pytest.approx(sum(map(worth, earned)))


def test_an_entry_that_has_broken_off_leaves_nothing():
    trie = HotwordTrie(TOKENS, ["New York Times"], bonus=BONUS)
    inside = walked(trie, " the New York", end=False)
    assert inside.reach == pytest.approx(worth("New York Times")) and inside.earned == inside.due == 0
    broken = walked(trie, " the New York post", end=False)
    assert broken == replace(walked(trie, " a", end=False), is_first=False) and broken.reach == 0


def test_a_phrase_cut_by_a_window_keeps_its_share():
    trie = HotwordTrie(TOKENS, ["Mines of Moria"], bonus=BONUS)
    first, second = walked(trie, " in the Mines of"), walked(trie, " Moria they went.")
    assert 0 < first.earned < worth("Mines of Moria") and 0 < second.earned < worth("Mines of Moria")
    assert walked(trie, " went to Moria.").earned == 0  # the rest of a phrase counts at the beginning only


def test_a_language_without_spaces_has_words_anywhere():
    text = "今日は東京駅へ"
    ids = TOKENS.encode("東京駅")
    assert TOKENS.encode(text)[-len(ids) - 1 : -1] == ids
    assert walked(HotwordTrie(TOKENS, ["東京駅"], has_spaces=False, bonus=BONUS), text).earned > 0
    assert walked(HotwordTrie(TOKENS, ["東京駅"], bonus=BONUS), text).earned == 0


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(FOLDER, compute_type="float32")


@pytest.fixture(scope="module")
def states(engine):
    """Two English clips of several lengths, with 2 s of silence behind each."""
    sounds = [load_audio(clip.path).samples for clip in ENGLISH[:2]]
    return engine.encode([pad_or_trim(log_mel(sound), 2 * (len(sound) // 320) + 200) for sound in sounds])


PROMPTS = {timestamps: TOKENS.prompt("en", "transcribe", timestamps=timestamps) for timestamps in (False, True)}


@pytest.mark.parametrize(("beam_size", "timestamps"), [(1, True), (2, False)])
def test_a_list_of_words_that_do_not_occur_changes_nothing(engine, states, beam_size, timestamps):
    states = states if beam_size == 1 else engine.row(states, 0)
    how = {"prompt": PROMPTS[timestamps], "beam_size": beam_size, "max_tokens": 30}
    plain, led = engine.decode(states, **how), engine.decode(states, bias=Bias(HotwordTrie(TOKENS, ABSENT)), **how)
    assert [row.tokens for row in led] == [row.tokens for row in plain]
    for one, other in zip(plain, led, strict=True):
        assert other.avg_logprob == pytest.approx(one.avg_logprob, abs=1e-4) and other.finished == one.finished
        assert other.no_speech_prob == pytest.approx(one.no_speech_prob, abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_word_that_the_model_gets_wrong_is_found(engine, states, beam_size):
    """In greedy search beside another clip, whose text stays; the confidence is the model's own, without the bonus."""
    prompt = PROMPTS[False]
    states = states if beam_size == 1 else engine.row(states, 0)
    trie = HotwordTrie(TOKENS, [*ABSENT, "ill-disposed"])
    plain = engine.decode(states, prompt, beam_size=beam_size, max_tokens=30)
    led = engine.decode(states, prompt, beam_size=beam_size, max_tokens=30, bias=Bias(trie))
    texts = [(TOKENS.text(a.tokens), TOKENS.text(b.tokens)) for a, b in zip(plain, led, strict=True)]
    assert "ill-disposed" not in texts[0][0] and "not an ill-disposed young man" in texts[0][1]
    assert [plain for plain, _ in texts[1:]] == [found for _, found in texts[1:]]
    assert led[0].avg_logprob == pytest.approx(mean_logprob(engine, states, prompt, led[0].tokens), abs=1e-3)


def mean_logprob(engine: TorchEngine, states, prompt, tokens) -> float:
    """Of the first clip's text, read in one go."""
    rules, total = engine._rules(0), 0.0
    with torch.inference_mode():
        memory = engine._network.memory(engine.row(states, 0), len(prompt) + len(tokens) + 1)
        hidden, _ = engine._network.step(torch.tensor([[*prompt, *tokens]]), memory)
        for n, token in enumerate([*tokens, TOKENS.end]):
            logits = engine._network.logits(hidden[:, len(prompt) - 1 + n])
            rules.apply(logits, [tokens[:n]], stamps=False)
            total += logits.log_softmax(-1)[0, token].item()
    return total / (len(tokens) + 1)


def test_a_mark_that_is_never_written_is_written_in_an_entry(engine, states):
    """The token "/" is among those that Whisper is kept from writing."""
    found = engine.decode(engine.row(states, 1), PROMPTS[False], beam_size=1, max_tokens=40,
                          bias=Bias(HotwordTrie(TOKENS, ["rather/cold"], bonus=Bonus(entry=60.0))))[0]
    assert "rather/cold" in TOKENS.text(found.tokens)


def test_decoding_ends_when_it_is_cancelled(engine, states):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        engine.decode(states, PROMPTS[False], beam_size=1, max_tokens=40, bias=Bias(HotwordTrie(TOKENS, ABSENT)),
                      cancel=cancel)


def test_every_window_is_led_and_keeps_its_times(base_torch):
    samples = load_audio(ENGLISH[0].path).samples
    windows = [Window(samples, ((0, start, len(samples)),)) for start in (0, 40 * 16_000)]
    options = Options("en", words=True, hotwords=("ill-disposed",))
    rows = [segments for found in base_torch.window_decoder.recognise(windows, options) for segments in found.values()]
    words = [word for segments in rows for segment in segments for word in segment.words]
    assert [word.text for word in words].count(" ill-disposed") == 2
    assert all(word.end > word.start for word in words) and 40 < words[-1].end < 44


def test_an_engine_without_a_hook_refuses_the_list(base):
    with pytest.raises(UserError, match="engine torch"):
        base.transcribe(ENGLISH[0].path, hotwords="ill-disposed")


def test_the_rule_takes_an_engine_that_follows_them_and_says_so(base):
    """As on a processor for which the rule is CTranslate2."""
    served = ServingInBackground("embedded:whisper-base", "embedded:whisper-base")
    served.base, served.fine_tuned = base, None
    led = served.transcribe(Request(ENGLISH[0].path, Options("en", hotwords=("ill-disposed",))))
    assert "ill-disposed" in led.transcript.text and "engine torch follows hotwords" in led.notice
    with pytest.raises(UserError, match="engine torch"):
        served.transcribe(Request(ENGLISH[0].path, Options("en", hotwords=("ill-disposed",)), engine="ctranslate2"))


def test_lists_are_read_alike(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# of the book\nGandalf\n\n  Mines   of Moria \r\nC#\nGandalf\n", encoding="utf-8-sig")
    wanted = ("Gandalf", "Mines of Moria", "C#")
    assert read_hotwords(str(path)) == read_hotwords("Gandalf, Mines of Moria, C#") == wanted
    assert hotwords_of(["Gandalf", " Mines of  Moria", "C#"]) == wanted
    assert Options.of(hotwords="Gandalf;Mines of Moria、C#").hotwords == wanted == hotwords_of(wanted)
    assert hotwords_of(None) == Options().hotwords == ()


@pytest.mark.parametrize(("given", "message"), [
    ("", "is empty"), (" , \n# nothing", "is empty"), ([], "is empty"), ("Gandalf, 112", "no letter"),
    ([f"word{n}" for n in range(MAX_ENTRIES + 1)], f"Limit: {MAX_ENTRIES}"),
    ("a" * (MAX_LETTERS + 1), f"Limit: {MAX_LETTERS} letters"),
])
def test_a_list_that_cannot_be_used_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        Options.of(hotwords=given)


@pytest.mark.parametrize(("data", "message"), [
    (None, "no such file"), (b"", "is empty"), (b"fLaC\0\0\0\x22\xff\xfe", "not UTF-8"),
    (b"ab\n" * 400_000, "too large"),
])
def test_a_file_that_is_no_list_is_refused(tmp_path, data, message):
    path = tmp_path / "names.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_hotwords(str(path))
