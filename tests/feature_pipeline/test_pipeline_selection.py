"""What needs the whole corpus: duplicates, splits without a leak, held-out rows, caps, the mix."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from corpora import WORDS, sentence

from feature_pipeline import selection as chosen
from feature_pipeline.config import Clean, Config, LabelCheck, Source, Split
from feature_pipeline.names import over_frequent_names
from feature_pipeline.selection import finish, select
from feature_pipeline.store import CHECKED, write_table
from feature_pipeline.text import scripts, sentence_key
from shared.errors import UserError


def facts(n: int, **more) -> dict:
    text = more.pop("text", sentence(n))
    return {"id": f"a/{n}", "source": "a", "text": text, "language": "en", "speaker": f"v{n % 10}", "duration": 2.0,
            "sample_hash": f"h{n}", "sentence": sentence_key(text), "n_bytes": 100, "n_bytes_source": 100,
            "text_language": "en", "scripts": json.dumps(scripts(text)), **more}


def decide(tmp_path: Path, rows: list[dict], *, split=None, clean=None, sources=None, label_check=None, verdicts=None):
    """Selection over rows in two chunks; and the living and dropped rows by id."""
    config = Config(name="t", sources=tuple(sources or [Source("folder", None, "a")]), label_check=label_check,
                    clean=clean or Clean(max_same_name=0), split=split or Split())
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for path, part in zip(paths, (rows[: len(rows) // 2], rows[len(rows) // 2 :]), strict=True):
        write_table(path, CHECKED, part)
    found = select(paths, tmp_path / "rows.sqlite", config, verdicts or {})
    if label_check is None:
        finish(found, config)
    alive = dict(found.db.execute("select id, split from rows where reason is null"))
    dropped = dict(found.db.execute("select id, reason from rows where reason is not null"))
    return found, alive, dropped, config


def sides(found, column: str) -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for value, split in found.db.execute(f"select {column}, split from rows where reason is null"):
        table.setdefault(value, set()).add(split)
    return table


def test_own_splits_share_no_speaker_and_no_sentence(tmp_path):
    rows = [facts(n, text=sentence(n % 300), speaker=f"v{n % 37}") for n in range(900)]
    found, alive, dropped, _ = decide(tmp_path, rows, split=Split(validation=0.1, test=0.2))
    assert all(len(splits) == 1 for column in ("speaker", "sentence") for splits in sides(found, column).values())
    counts = {split: list(alive.values()).count(split) for split in ("train", "validation", "test")}
    assert 0.12 * 900 < counts["test"] < 0.25 * 900 and counts["validation"] > 0 and counts["train"] > 200
    assert set(dropped.values()) <= {"sentence also in test", "sentence also in validation"}


def test_one_voice_is_split_by_sentence_with_a_warning(tmp_path):
    rows = [facts(n, text=sentence(n % 150), speaker="carlo") for n in range(300)]
    found, alive, dropped, _ = decide(tmp_path, rows, split=Split(validation=0.1, test=0.2))
    assert not dropped and set(alive.values()) == {"train", "validation", "test"}
    assert all(len(splits) == 1 for splits in sides(found, "sentence").values())
    assert "share voices" in found.warnings[0]


def test_official_splits_stay_and_leaks_are_reported(tmp_path):
    rows = [facts(n, speaker=f"v{n % 10}", split=("train", "test")[n % 10 == 0]) for n in range(100)]
    rows += [facts(200, split="test", text=sentence(1), speaker="v100"),  # test has this speaker, train that sentence
             facts(201, split="train", text=sentence(300), speaker="v0")]
    found, alive, dropped, _ = decide(tmp_path, rows, split=Split(validation=0, test=0.5))
    test = {name for name, split in alive.items() if split == "test"}
    assert test == {"a/200", *(f"a/{n}" for n in range(0, 100, 10))}
    assert dropped == {"a/1": "sentence also in test", "a/201": "speaker also in test"}
    assert [(leak["kind"], leak["rows"], leak["dropped"]) for leak in found.leaks] == [
        ("sentence", 1, True), ("speaker", 1, True)]
    found, alive, dropped, _ = decide(tmp_path, rows, split=Split(validation=0, drop_leaks=False))
    assert not dropped and [leak["dropped"] for leak in found.leaks] == [False, False]


def test_train_and_validation_joined_then_validation_carved_out_by_speaker(tmp_path):
    official = {n: "test" if n % 20 < 4 else "validation" if n % 20 < 8 else "train" for n in range(400)}
    rows = [facts(n, speaker=f"v{n % 20}", split=official[n]) for n in range(400)]
    found, alive, dropped, _ = decide(tmp_path, rows, split=Split(validation=0.1, join_validation=True))
    test = {name for name, split in alive.items() if split == "test"}
    assert test == {f"a/{n}" for n in official if official[n] == "test"}
    assert not dropped and all(len(splits) == 1 for splits in sides(found, "speaker").values())
    validation = {name for name, split in alive.items() if split == "validation"}
    assert 0 < len(validation) <= 44
    assert validation != {f"a/{n}" for n in official if official[n] == "validation"}


def test_held_out_rows_lie_in_test_with_all_their_twins(tmp_path):
    with (tmp_path / "held.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "language", "text"), ("x.flac", "en", sentence(7).upper() + "!"),
                                    ("y.flac", "it", "Buongiorno.")])
    rows = [facts(n, split="train") for n in range(60)]
    rows += [facts(100, text=sentence(7), split="train", speaker="v99")]
    held = Split(by=("sentence",), held_out=(str(tmp_path / "held.csv"), sentence(9)), test=0, validation=0)
    found, alive, dropped, _ = decide(tmp_path, rows, split=held)
    assert {name for name, split in alive.items() if split == "test"} == {"a/7", "a/100", "a/9"} and not dropped
    assert not found.warnings  # the Italian row does not concern an English corpus
    with pytest.raises(UserError, match="column `text` or `id`"):
        (tmp_path / "held.csv").write_text("file\nx\n")
        decide(tmp_path, rows, split=held)


def test_a_held_out_sentence_that_is_not_there_is_reported(tmp_path):
    found, *_ = decide(tmp_path, [facts(n) for n in range(20)], split=Split(held_out=("Nobody says this.",)))
    assert "nobody says this" in found.warnings[0]


def test_of_twins_the_one_nearest_to_test_stays(tmp_path):
    rows = [facts(n) for n in range(20)]
    rows[3] |= {"sample_hash": "same", "split": "train"}
    rows[15] |= {"sample_hash": "same", "split": "test"}
    rows[7] |= {"sample_hash": "same", "split": "validation"}
    rows[9] |= {"id": "a/8"}
    _, alive, dropped, _ = decide(tmp_path, rows, split=Split(by=("sentence",)))
    assert dropped == {"a/3": chosen.SAME_AUDIO, "a/7": chosen.SAME_AUDIO, "a/8": chosen.SAME_ID} and "a/15" in alive


def test_a_sentence_fills_no_more_of_train_than_its_cap(tmp_path):
    rows = [facts(n, text="Yes, please." if n < 50 else sentence(n), split="train") for n in range(100)]
    rows += [facts(200 + n, text=f"Held {n}.", split="test") for n in range(5)]
    _, alive, dropped, _ = decide(tmp_path, rows, clean=Clean(max_same_sentence=12, max_same_name=0),
                                  split=Split(validation=0, by=("sentence",)))
    assert list(dropped.values()).count(chosen.SAME_SENTENCE) == 38 and len(alive) == 67


def test_a_place_name_spoken_130_times_is_capped(tmp_path):
    rows = [facts(n, text=f"The {WORDS[n % 20]} near Norrköping {n}.", split="train") for n in range(130)]
    rows += [facts(200 + n, split="train") for n in range(100)]
    _, _, dropped, _ = decide(tmp_path, rows, clean=Clean(max_same_name=20), split=Split(validation=0, test=0))
    assert list(dropped.values()) == [chosen.SAME_NAME] * 110


def test_common_words_are_no_names():
    rules = Clean(max_same_name=10)
    texts = [f"Yesterday I saw the window in Norrköping and asked Peter about number {n}." for n in range(50)]
    assert over_frequent_names(texts, rules) == {"norrköping"}  # I, Peter: one token; window: no capital
    assert over_frequent_names([text.lower() for text in texts], rules) == set()


def test_a_mix_by_weight_drops_from_what_there_is_too_much_of(tmp_path):
    rows = [facts(n, split="train") for n in range(100)]
    rows += [facts(n, id=f"b/{n}", source="b", split="train") for n in range(100, 400)]
    sources = [Source("folder", None, "a", weight=1), Source("folder", None, "b", weight=2)]
    _, alive, dropped, _ = decide(tmp_path, rows, sources=sources, split=Split(validation=0, test=0))
    assert sum(name.startswith("a/") for name in alive) == 100 and sum(name.startswith("b/") for name in alive) == 200
    assert set(dropped.values()) == {chosen.OVER_WEIGHT}


def test_the_label_check_drops_from_train_alone_and_spares_what_a_person_kept(tmp_path):
    rows = [facts(n, split=("train", "test")[n % 2]) for n in range(100)]
    found, _, _, config = decide(tmp_path, rows, label_check=LabelCheck(drop_worst=0.1), verdicts={"a/0": ("keep", "")},
                                 split=Split(validation=0))
    found.db.execute("update rows set hypothesis = '', wer = 1.0 / (n + 1), cer = 0, mismatch = 1.0 / (n + 1)")
    finish(found, config)
    dropped = [name for (name,) in found.db.execute("select id from rows where reason = ?", (chosen.LABEL_CHECK,))]
    assert dropped == ["a/2", "a/4", "a/6", "a/8", "a/10"]


def test_order_of_arrival_decides_nothing(tmp_path):
    rows = [facts(n, text=sentence(n % 80), speaker=f"v{n % 17}") for n in range(400)]
    (tmp_path / "b").mkdir()
    _, one, _, _ = decide(tmp_path, rows)
    _, other, _, _ = decide(tmp_path / "b", rows[::-1])
    assert one == other


KYRGYZ = ("Кутман таң, кандайсыз", "Бүгүн аба ырайы жакшы", "Мен китеп окуйм", "Биз шаарга барабыз")
UYGHUR = ("ياخشىمۇسىز", "بۈگۈن ھاۋا ياخشى", "مەن كىتاب ئوقۇيمەن", "بىز شەھەرگە بارىمىز")
IRISH = ("Dia duit, conas atá tú", "Tá an aimsir go maith", "Léim leabhar gach lá", "Rachaimid go dtí an chathair")


@pytest.mark.parametrize(("language", "text_language", "texts"), [
    ("ky", "ky", KYRGYZ), ("ug", "ug", UYGHUR), ("ga", "ga", IRISH),
    ("uz", "ug", UYGHUR),  # speech goes by a related language's token, the text is its own
    ("hi", "en", ("It is warm today", "I read a book", "We go to town", "Good morning to you")),  # translations
])
def test_rows_are_judged_by_the_script_of_their_corpus(language, text_language, texts, tmp_path):
    rows = [facts(n, text=texts[n % 4], language=language, text_language=text_language) for n in range(40)]
    rows.append(facts(41, text="ひらがなだけ", language=language, text_language=text_language))
    found, _, dropped, _ = decide(tmp_path, rows)
    assert dropped["a/41"] == chosen.WRONG_SCRIPT and list(dropped.values()).count(chosen.WRONG_SCRIPT) == 1
    detail, = found.db.execute("select detail from rows where id = 'a/41'").fetchone()
    assert detail.startswith("0 % of the letters are ")
    assert not any("check the language" in warning for warning in found.warnings)


def test_a_script_that_the_language_is_not_written_in_is_reported(tmp_path):
    rows = [facts(n, text=UYGHUR[n % 4], language="sv", text_language="sv") for n in range(40)]
    found, _, dropped, _ = decide(tmp_path, rows)
    assert chosen.WRONG_SCRIPT not in dropped.values()
    assert "a: most letters are Arabic, and Swedish is written in Latin: check the language" in found.warnings[0]
