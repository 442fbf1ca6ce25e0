"""What counts as the same word, how errors are counted, and when a difference may be believed."""

from __future__ import annotations

import random
import sys
import unicodedata

import jiwer
import numpy as np
import pytest

from shared.wer import (
    MIN_UTTERANCES,
    Aligned,
    WordErrors,
    character_errors,
    compare,
    interval,
    normalise,
    pooled,
    score,
    unit,
    utterance_errors,
    without_accents,
    word_errors,
)

SAME = [  # a reader of the language calls these the same words in the same spelling
    ("sv", "Ät på Åre-krogen, Örjan!", "ät på åre krogen örjan"),
    ("sv", "“Hej!” – sa hon…", "hej sa hon"),
    ("de", "Straße, GRÖSSE und ÄPFEL", "straße grösse und äpfel"),
    ("de", "GROẞ", "groß"),
    ("hi", "हमने उस उम्मीदवार को चुना।", "हमने उस उम्मीदवार को चुना"),
    ("th", "กำลังไปที่นี่ๆ", "กำลังไปที่นี่ๆ"),
    ("ar", "العَرَبِيَّةُ، لُغَةٌ جَمِيلَةٌ؟", "العربية لغة جميلة"),
    ("ar", "جميـــل", "جميل"),
    ("he", "שָׁלוֹם, צה״ל", 'שלום צה"ל'),
    ("fa", "می‌خواهم", "میخواهم"),
    ("fa", "كتاب", "کتاب"),
    ("ja", "「ＡＢＣ」ｶﾞｷﾞ、東京。", "abc ガギ 東京"),
    ("tr", "IŞIK İYİ", "ışık iyi"),
    ("az", "I\u0307LIQ", "ilıq"),
    ("fr", "L’ami d´Éric, aujourd'hui : « d’accord » !", "l'ami d'éric aujourd'hui d'accord"),
    ("it", "Dell’acqua, perché?", "dell'acqua perché"),
    ("en", "Don’t ‘quote’ cold-hearted dogs'.", "don't quote cold hearted dogs"),
    ("en", "co\u00adoperate \ufeff\u200eo\ufb03ce", "cooperate office"),
    ("en", "İstanbul", "istanbul"),
    ("en", "[music] Hello <unk> (again)", "hello again"),
    ("uk", "м’який", "мʼякий"),
    ("ru", "Ещё за\u0301мок", "еще замок"),
    ("ro", "ştiinţă", "știință"),
    ("ml", "അവന്\u200d", "അവൻ"),
    ("el", "ΟΔΟΣ", "οδος"),
    ("am", "ሰላም፡ዓለም።", "ሰላም ዓለም"),
    ("en", "50% of $5 & −3°", "50 % of $ 5 & -3 °"),
]

DIFFERENT = [  # ... and these not
    ("de", "Straße", "Strasse"),
    ("de", "Maße", "Masse"),
    ("de", "schon", "schön"),
    ("sv", "for", "för"),
    ("hi", "की", "का"),
    ("th", "มา", "ม้า"),
    ("ar", "آمن", "أمن"),
    ("tr", "ılık", "ilik"),
    ("fr", "ou", "où"),
    ("ja", "か", "が"),
    ("en", "3", "three"),
    ("en", "1,000", "1000"),
    ("en", "-5", "5"),
    ("en", "50%", "50"),
    ("en", "€5", "$5"),
    ("en", "colour", "color"),
    ("en", "won't", "will not"),
    ("yi", "אַ", "אָ"),
    (None, "العَرَبِيَّةُ", "العربية"),
]


@pytest.mark.parametrize(("language", "one", "other"), SAME)
def test_the_same_words_are_equal(language, one, other):
    assert normalise(one, language) == normalise(other, language)
    assert word_errors(one, other, language).wer == 0


@pytest.mark.parametrize(("language", "one", "other"), DIFFERENT)
def test_different_words_stay_apart(language, one, other):
    assert normalise(one, language) != normalise(other, language)
    assert word_errors(one, other, language).errors


@pytest.mark.parametrize("language", [None, "sv", "tr", "ar", "he", "ja", "ru", "uz"])
def test_no_letter_mark_or_digit_of_any_script_is_lost(language):
    for char in map(chr, range(sys.maxunicode + 1)):
        kind = unicodedata.category(char)[0]
        if kind not in "LMN" or (kind == "M" and language in {"ar", "he", "ru"}):
            continue
        is_invisible = "VARIATION SELECTOR" in unicodedata.name(char, "") or char in "\u034f\u0640"
        changed = normalise(f"क{char}", language) != "क"
        assert changed != is_invisible, f"U+{ord(char):04X}"


def test_hindi_words_are_not_cut_at_their_vowel_signs():
    assert normalise("हमने उस उम्मीदवार को चुना", "hi").split() == ["हमने", "उस", "उम्मीदवार", "को", "चुना"]
    assert word_errors("हमने उस उम्मीदवार को चुना", "हमने उस उम्मीदवार को चुनी", "hi").wer == 1 / 5


NUMBERS = ["1,000", "3.5", "1.000,50", "10:30", "1/2", "192.168.0.1", "12345", "٣٫٥", "५", "m²", "½"]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_left_as_written(text):
    assert normalise(f"({text}).").split() == [text]


@pytest.mark.parametrize("text, bare", [
    ("más allá, ¿dónde está?", "mas alla, ¿donde esta?"), ("ma\u0301s", "mas"), ("pingüino", "pinguino"),
    ("où forêt naïf", "ou foret naif"), ("año garçon på ő", "año garçon på ő"), ("ещё мой", "ещё мой"), ("ẫ", "ẫ"),
])
def test_accents_that_a_reference_leaves_out_go_and_letters_of_their_own_stay(text, bare):
    assert without_accents(text) == bare


def test_an_elision_is_one_word():
    errors = word_errors("l'ami de l'homme", "la mie de l'homme", "fr")
    assert errors.reference_length == 3
    assert errors.errors == 2


def test_normalising_twice_changes_nothing():
    rng = random.Random(0)
    alphabet = "aIİßéا\u064bב\u05b8ё\u0301'’ʻ\"״-−.,:/ 5٣%€[]<>()ｶﾞＡ\u200d\u200b\u00adक\u093eัำ가\n"
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=12))
        for language in (None, "tr", "ar", "he", "ru", "ja"):
            once = normalise(text, language)
            assert normalise(once, language) == once, repr(text)


def test_the_unit_is_the_character_where_words_are_not_spaced():
    assert unit("ja") == unit("zh-TW") == unit("th") == "character"
    assert unit("sv") == unit("ko") == unit(None) == "word"
    errors = word_errors("今日は 良い天気です。", "今日は良い元気です", "ja")
    assert (errors.reference_length, errors.substitutions, errors.errors) == (9, 1, 1)
    assert errors == character_errors("今日は 良い天気です。", "今日は良い元気です", "ja")
    thai = word_errors("ฉันมาที่บ้าน", "ฉันม้าที่บ้าน", "th")
    assert (thai.errors, thai.insertions) == (1, 1)


def test_raw_counts_case_and_punctuation():
    assert word_errors("Hello, world.", "hello world").wer == 0
    raw = word_errors("Hello, world.", "hello world", raw=True)
    assert (raw.substitutions, raw.wer) == (2, 1.0)
    assert character_errors("Hello, world.", "hello world", raw=True).errors == 3
    assert word_errors("今日は。", "今日は", "ja", raw=True).deletions == 1


def test_empty_texts():
    for count in (word_errors, character_errors):
        assert count("", "").wer == 0
        assert count("...", "[music]").wer == 0
        assert count("one two", "").wer == 1
    words_in_silence = word_errors("", "thanks for watching")
    assert (words_in_silence.wer, words_in_silence.reference_length, words_in_silence.insertions) == (3, 0, 3)
    assert pooled([words_in_silence, word_errors("a b c", "a b c")]).wer == 1
    assert pooled([]).wer == 0


def test_wer_may_exceed_one():
    assert word_errors("yes", "well I would say yes").wer == 4


def test_counts_and_alignment():
    errors = word_errors("The cat sat on the red mat", "the cat sit on red mat today", "en")
    assert errors.alignment == (
        Aligned("hit", "the", "the"), Aligned("hit", "cat", "cat"), Aligned("substitution", "sat", "sit"),
        Aligned("hit", "on", "on"), Aligned("deletion", "the", ""), Aligned("hit", "red", "red"),
        Aligned("hit", "mat", "mat"), Aligned("insertion", "", "today"),
    )
    assert (errors.hits, errors.substitutions, errors.deletions, errors.insertions) == (5, 1, 1, 1)


def random_pairs(n, seed):
    """Sentences and damaged copies of them, with lengths and damage that differ from one to the next."""
    rng = random.Random(seed)
    words = ["Räksmörgås", "och", "L'ami", "हमने", "को", "3.5", "‘the’", "cold-hearted", "straße,", "είναι", "안녕"]
    for _ in range(n):
        reference = rng.choices(words, k=rng.randint(1, 12))
        damage = rng.random() / 2
        hypothesis = [rng.choice(words) if rng.random() < damage else w for w in reference if rng.random() > damage / 2]
        yield " ".join(reference), " ".join(hypothesis + rng.choices(words, k=rng.random() < damage))


@pytest.mark.parametrize("count", [word_errors, character_errors])
@pytest.mark.parametrize("raw", [False, True])
def test_pooled_counts_equal_jiwer_and_alignments_hold_both_texts(count, raw):
    pairs = list(random_pairs(200, seed=1))
    each = [count(r, h, "en", raw=raw) for r, h in pairs]
    texts = [(r, h) if raw else (normalise(r, "en"), normalise(h, "en")) for r, h in pairs]
    theirs = (jiwer.wer if count is word_errors else jiwer.cer)([r for r, _ in texts], [h for _, h in texts])
    assert pooled(each).wer == pytest.approx(theirs, abs=1e-12)
    joint = " " if count is word_errors else ""
    for errors, (reference, hypothesis) in zip(each, texts, strict=True):
        assert joint.join(a.reference for a in errors.alignment if a.kind != "insertion") == reference
        assert joint.join(a.hypothesis for a in errors.alignment if a.kind != "deletion") == hypothesis
        kinds = [a.kind for a in errors.alignment]
        assert [kinds.count(k) for k in ("hit", "substitution", "deletion", "insertion")] == [
            errors.hits, errors.substitutions, errors.deletions, errors.insertions]
        assert all((a.kind == "hit") == (a.reference == a.hypothesis) for a in errors.alignment)


def simulated(n, rng, rate=0.2, lengths=None):
    """Counts of n utterances whose own difficulty varies widely around `rate`."""
    lengths = rng.integers(3, 16, n) if lengths is None else lengths
    wrong = rng.binomial(lengths, rng.beta(0.6, 0.6 * (1 - rate) / rate, n))
    return [WordErrors(int(m - w), int(w)) for m, w in zip(lengths, wrong, strict=True)]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [interval(simulated(60, rng), n=800) for _ in range(200)]
    assert 0.89 <= np.mean([low <= 0.2 <= high for low, high in found]) <= 0.99


def test_equal_systems_seldom_differ_and_neither_side_is_favoured():
    rng = np.random.default_rng(1)
    lengths = [rng.integers(3, 16, 60) for _ in range(200)]
    verdicts = [compare(simulated(60, rng, lengths=m), simulated(60, rng, lengths=m), n=800).verdict for m in lengths]
    assert verdicts.count("no difference shown") >= 178
    assert abs(verdicts.count("better") - verdicts.count("worse")) <= 10


def test_a_real_difference_is_found_and_the_sides_can_be_swapped():
    rng = np.random.default_rng(2)
    lengths = rng.integers(3, 16, 150)
    base, tuned = simulated(150, rng, 0.4, lengths), simulated(150, rng, 0.15, lengths)
    there, back = compare(base, tuned), compare(tuned, base)
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.difference == pytest.approx(pooled(tuned).wer - pooled(base).wer)
    assert there.low < there.difference < there.high < 0
    assert back.difference == pytest.approx(-there.difference)
    assert back.low == pytest.approx(-there.high, abs=0.02)


def test_pairing_sees_what_two_intervals_cannot():
    rng = np.random.default_rng(3)
    base = simulated(200, rng)
    tuned = [WordErrors(e.hits + 1, e.substitutions - 1) if e.substitutions > 2 else e for e in base]
    assert interval(tuned).high > interval(base).low  # the two overlap, and yet:
    assert compare(base, tuned).verdict == "better"


def test_a_system_against_itself():
    base = simulated(50, np.random.default_rng(4))
    same = compare(base, base)
    assert (same.difference, same.low, same.high, same.verdict) == (0, 0, 0, "no difference shown")


def test_order_does_not_matter_and_the_seed_decides():
    errors = simulated(80, np.random.default_rng(5))
    shuffled = random.Random(0).sample(errors, len(errors))
    assert pooled(errors) == pooled(shuffled)
    assert interval(errors) == interval(shuffled) == interval(errors, seed=0)
    assert interval(errors, seed=1) != interval(errors)
    low, high = interval(errors)
    assert low < pooled(errors).wer < high
    narrow = interval(errors, level=0.5)
    assert low < narrow.low < narrow.high < high


def test_too_few_utterances_give_no_interval():
    few = simulated(MIN_UTTERANCES - 1, np.random.default_rng(6))
    assert interval(few) is None
    comparison = compare(few, [WordErrors(e.reference_length) for e in few])
    assert (comparison.verdict, comparison.low, comparison.high) == ("too short to tell", None, None)
    assert comparison.difference == -pooled(few).wer
    assert interval([*few, WordErrors(5)]) is not None
    assert compare([], []).verdict == "too short to tell"


def test_no_error_at_all_is_not_certainty():
    low, high = interval([WordErrors(5)] * 30)
    assert low == 0
    assert 0.01 < high < 0.04  # the exact binomial: 1 - 0.025 ** (1 / 150)


def test_utterances_of_one_speaker_are_drawn_together():
    rng = np.random.default_rng(7)
    easy, hard = simulated(200, rng, 0.05), simulated(200, rng, 0.5)
    speakers = [i % 20 for i in range(200)] + [20 + i % 20 for i in range(200)]
    alone, together = interval(easy + hard), interval(easy + hard, groups=speakers)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert interval(easy + hard, groups=["one"] * 400) is None
    with pytest.raises(ValueError, match="label"):
        interval(easy, groups=["one"])


def test_comparing_different_utterances_is_refused():
    with pytest.raises(ValueError, match="same utterances"):
        compare([WordErrors(3)], [WordErrors(4)])
    with pytest.raises(ValueError, match="same utterances"):
        compare([WordErrors(3)], [WordErrors(3)] * 2)


def test_a_score_pools_all_four_ways_of_counting():
    pairs = list(random_pairs(40, seed=2))
    each = [utterance_errors(r, h, "en") for r, h in pairs]
    scored = score(each, n=500)
    assert scored.n_utterances == 40
    assert scored.wer == pooled([word_errors(r, h, "en") for r, h in pairs]).wer
    assert scored.cer == pooled([character_errors(r, h, "en") for r, h in pairs]).wer
    assert scored.raw_wer == jiwer.wer([r for r, _ in pairs], [h for _, h in pairs])
    assert scored.raw_cer == jiwer.cer([r for r, _ in pairs], [h for _, h in pairs])
    assert scored.words.interval == interval([e.words for e in each], n=500)
    assert scored.words.interval.low < scored.wer < scored.words.interval.high
    assert score(each[:1]).words.interval is None
