"""Test sets from a zip: every clip scored, no bad one fatal, nothing hostile let through."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import tempfile
import threading
import zipfile

import pytest
from paths import DATA
from testset_world import (
    ITALIAN,
    TEXTS,
    italian,
    knows,
    one_word_less,
    packed,
    references,
    refused,
    table,
)

from shared.errors import Cancelled, UserError
from shared.testset import Clip, ClipSet, as_csv, as_jsonl, evaluate, zip_clips
from shared.testset import zip_reader as clips_module
from shared.wer import pooled, word_errors


def test_a_zip_of_real_clips(tmp_path):
    path = packed(tmp_path, {"refs.csv": table(references()), **italian()})
    seen = []
    with zip_clips(path) as clips:
        found = evaluate(clips, {"base": one_word_less, "tuned": knows(TEXTS)}, language="it",
                         progress=lambda done, total: seen.append((done, total)))
    assert found.names == ("base", "tuned")
    assert [clip.id for clip in found.clips] == [row["file"] for row in ITALIAN]
    assert [clip.reference for clip in found.clips] == [row["text"] for row in ITALIAN]
    assert (found.failed, found.warnings) == ((), ())
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    base, tuned = found.scores
    assert (tuned.wer, tuned.cer, tuned.raw_wer) == (0, 0, 0)
    assert base.words.errors.deletions == 4
    assert base.wer == pooled(word_errors(t, t.rsplit(" ", 1)[0], "it") for t in TEXTS.values()).wer
    assert found.comparisons[0].verdict == "too short to tell"
    assert found.comparisons[0].difference == -base.wer
    assert found.audio_seconds == pytest.approx(sum(TEXTS), abs=0.02)
    assert found.rtfx("base") > 0


@pytest.mark.parametrize("header", ["path\tsentence", "FILE_NAME;Transcript", "audio,reference", "clip,text,extra"])
def test_tables_as_people_write_them(tmp_path, header):
    delimiter = "\t" if "\t" in header else ";" if ";" in header else ","
    text = header + "\r\n" + "".join(f"{name}{delimiter}{spoken.replace(',', '')}\r\n" for name, spoken in references())
    path = packed(tmp_path, {"my set/refs.tsv": "\ufeff" + text, **italian("my set/clips/")})
    with zip_clips(path) as clips:
        assert clips.n_clips == 4
        assert [clip.reference for clip in clips.clips] == [spoken.replace(",", "") for _, spoken in references()]


def test_bare_quotation_marks_in_a_tsv(tmp_path):
    text = 'file\ttext\nit_priv-introsaved.flac\t"Grazie" e poi "no\nit_vm-mailboxfull.flac\tsì\n'
    with zip_clips(packed(tmp_path, {"t.tsv": text, **italian()})) as clips:
        assert [clip.reference for clip in clips.clips] == ['"Grazie" e poi "no', "sì"]


def test_columns_by_name_and_a_table_beside_the_zip(tmp_path):
    beside = tmp_path / "refs.csv"
    beside.write_text(table([("x", name[:-5], spoken) for name, spoken in references()[:2]], "text,recording,ord"))
    with zip_clips(packed(tmp_path, italian()), table=beside, audio_column="Recording", text_column="ord") as clips:
        assert [clip.reference for clip in clips.clips] == [spoken for _, spoken in references()[:2]]
        assert "2 clips have no line" in clips.warnings[0]


def test_names_with_letters_in_another_form_still_match(tmp_path):
    sound = italian()["it_vm-mailboxfull.flac"]
    decomposed, composed = "A\u030angstro\u0308m.flac", "Ångström.flac"
    with zip_clips(packed(tmp_path, {decomposed: sound, "t.csv": table([(composed, "hej")])})) as clips:
        assert clips.n_clips == 1


def test_bad_clips_are_listed_and_the_rest_is_scored(tmp_path):
    files = italian()
    good = "it_vm-mailboxfull.flac"
    rows = [(good, TEXTS[4.52]), ("gone.wav", "x"), ("it_priv-introsaved.flac", "  "), ("text.mp3", "y"),
            ("empty.wav", "z"), (good, "again"), ("../../etc/passwd", "root")]
    path = packed(tmp_path, {"t.csv": table(rows), "text.mp3": "not sound at all" * 99, "empty.wav": "", **files,
                             "__MACOSX/._t.csv": "junk"})
    with zip_clips(path) as clips:
        found = evaluate(clips, {"one": knows(TEXTS)}, language="it")
    assert [clip.id for clip in found.clips] == [good]
    reasons = {clip.id: clip.message for clip in found.failed}
    assert set(reasons) == {"gone.wav", "it_priv-introsaved.flac", "text.mp3", "empty.wav", good, "../../etc/passwd"}
    assert "not in the zip" in reasons["gone.wav"] and "not in the zip" in reasons["../../etc/passwd"]
    assert "no reference" in reasons["it_priv-introsaved.flac"]
    assert "empty" in reasons["empty.wav"] and "more than once" in reasons[good]
    assert "2 clips" in found.warnings[0]
    assert found.comparisons == ()


def test_wrong_input_is_an_error_that_lists_what_is_there(tmp_path):
    clip = {"a.wav": b"x"}
    refused(packed(tmp_path, {**clip, "t.csv": "wav_id_x,words\na.wav,hej\n"}), "columns wav_id_x, words")
    refused(packed(tmp_path, {**clip, "t.csv": table([("a.wav", "hej")])}), "“ord”", text_column="ord")
    refused(packed(tmp_path, clip), r"no table.*a\.wav")
    refused(packed(tmp_path, {**clip, "t.csv": "file,text\n", "u.csv": "file,text\n"}), "more than one table")
    refused(packed(tmp_path, {**clip, "t.csv": "file,text\n"}), "table is empty")
    refused(packed(tmp_path, {**clip, "t.csv": table([("b.wav", "hej")])}), r"names b\.wav.*holds a\.wav")
    refused(packed(tmp_path, {**clip, "t.csv": "file,text\na.wav,högt\n".encode("cp1252")}), "not in UTF-8")
    refused(tmp_path / "nothing.zip", "could not be opened")
    (tmp_path / "text.zip").write_text("no zip")
    refused(tmp_path / "text.zip", "not a zip")
    whole = packed(tmp_path, {**clip, "t.csv": table([("a.wav", "hej")])}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.zip", "not a zip")
    (tmp_path / "zeroed.zip").write_bytes(bytes(60) + whole[60:])
    with pytest.raises(UserError), zip_clips(tmp_path / "zeroed.zip") as clips:
        evaluate(clips, {"one": knows(TEXTS)})


def test_damaged_zips_are_refused_or_read_never_a_crash(tmp_path):
    files = {"t.csv": table([("a.wav", "hej"), ("b/c.wav", "då")]), "a.wav": b"x" * 300, "b/c.wav": b"y" * 50}
    whole = packed(tmp_path, files).read_bytes()
    rng = random.Random(0)
    outcomes = {"refused": 0, "clip refused": 0, "read": 0}
    for _ in range(1000):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "damaged.zip").write_bytes(damaged)
        try:
            with zip_clips(tmp_path / "damaged.zip") as clips:
                for clip in clips.clips:
                    try:
                        clip.read()
                        outcomes["read"] += 1
                    except UserError:
                        outcomes["clip refused"] += 1
        except UserError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50


def test_bombs_are_not_opened(tmp_path, monkeypatch):
    bomb = packed(tmp_path, {"t.csv": table([("big.wav", "x")]), "big.wav": bytes(clips_module.MAX_CLIP_BYTES + 1)})
    assert bomb.stat().st_size < 100_000
    with zip_clips(bomb) as clips, pytest.raises(UserError, match="too large"):
        next(iter(clips.clips)).read()
    many = packed(tmp_path, {f"{i}.wav": b"" for i in range(30)} | {"t.csv": table([("1.wav", "x")])})
    monkeypatch.setattr(clips_module, "MAX_FILES", 20)
    refused(many, "too many files")
    lying = bytearray(many.read_bytes())
    end = lying.rfind(b"PK\x05\x06")
    lying[end + 8 : end + 12] = struct.pack("<HH", 1, 1)  # says one file, lists thirty-one
    many.write_bytes(lying)
    refused(many, "too many files")
    monkeypatch.setattr(clips_module, "MAX_FILES", 1000)
    monkeypatch.setattr(clips_module, "MAX_UNPACKED_BYTES", 1000)
    refused(packed(tmp_path, {"a.wav": bytes(2000)}), "holds too much")


def test_nothing_of_a_zip_lands_on_disk(tmp_path, monkeypatch):
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    path = packed(tmp_path, {"../../evil.flac": italian()["it_vm-mailboxfull.flac"], "/abs.flac": b"x", **italian(),
                             "t.csv": table([("../../evil.flac", TEXTS[4.52]), *references()])})
    before = {found for found in tmp_path.parent.rglob("*") if found.is_file()}
    with zip_clips(path) as clips:
        found = evaluate(clips, {"one": knows(TEXTS)}, language="it")
    assert len(found.clips) == 5
    assert {found for found in tmp_path.parent.rglob("*") if found.is_file()} == before
    assert list(kept.iterdir()) == []


def test_a_transcriber_that_refuses_a_clip_takes_it_from_both(tmp_path):
    def picky(waveform):
        if round(waveform.duration, 2) == 4.82:
            raise UserError("The clip is not to my taste")
        return "sì"

    with zip_clips(packed(tmp_path, {"t.csv": table(references()), **italian()})) as clips:
        found = evaluate(clips, {"one": knows(TEXTS), "picky": picky}, language="it")
    assert [clip.id for clip in found.failed] == ["it_vm-tmpexists.flac"]
    assert "taste" in found.failed[0].message
    assert found.scores[0].n_utterances == found.scores[1].n_utterances == 3


def test_nothing_to_score_says_why(tmp_path):
    path = packed(tmp_path, {"t.csv": table([("a.wav", "hej")]), "a.wav": "no sound"})
    with zip_clips(path) as clips, pytest.raises(UserError, match=r"could be scored.*a\.wav"):
        evaluate(clips, {"one": knows(TEXTS)})


def test_a_clip_that_is_too_long_is_listed():
    source = ClipSet("one", [Clip("long", "sì", (DATA / "it_vm-tmpexists.flac").read_bytes)])
    with pytest.raises(UserError, match="too long"):
        evaluate(source, {"one": knows(TEXTS)}, max_clip_seconds=2)


def test_a_source_that_breaks_off_keeps_what_came_before():
    def breaking():
        yield Clip("first", TEXTS[4.82], (DATA / "it_vm-tmpexists.flac").read_bytes)
        raise UserError("The line went dead")

    found = evaluate(ClipSet("broken", breaking()), {"one": knows(TEXTS)}, language="it")
    assert [clip.id for clip in found.clips] == ["first"]
    assert "went dead" in found.failed[0].message


def test_cancelling_stops_before_the_next_transcriber(tmp_path):
    cancel = threading.Event()
    calls = []

    def stopping(waveform):
        calls.append(waveform.duration)
        cancel.set()
        return "sì"

    path = packed(tmp_path, {"t.csv": table(references()), **italian()})
    with zip_clips(path) as clips, pytest.raises(Cancelled):
        evaluate(clips, {"one": stopping, "two": stopping}, cancel=cancel)
    assert len(calls) == 1


def test_exports_hold_every_clip(tmp_path):
    path = packed(tmp_path, {"t.csv": table([*references(), ("gone.wav", "x")]), **italian()})
    with zip_clips(path) as clips:
        found = evaluate(clips, {"base": one_word_less, "tuned": knows(TEXTS)}, language="it")
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    lines = [json.loads(line) for line in as_jsonl(found).splitlines()]
    assert len(rows) == len(lines) == 9
    assert rows[0]["hypothesis"] == lines[0]["hypothesis"] == TEXTS[4.36].rsplit(" ", 1)[0]
    assert (rows[0]["deletions"], rows[0]["transcriber"], rows[1]["wer"]) == ("1", "base", "0.0000")
    assert lines[0]["alignment"][-1] == ["deletion", "interlocutore", ""]
    assert rows[-1]["clip"] == lines[-1]["clip"] == "gone.wav"
    assert rows[-1]["failed"] == lines[-1]["failed"] == "The clip is not in the zip."


def test_files_of_a_zip_that_share_their_bytes_are_refused(tmp_path):
    path = packed(tmp_path, {"a.wav": bytes(5_000_000), "b.wav": bytes(5_000_000), "t.csv": table([("a.wav", "x")])})
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("a.wav").header_offset
        second = archive.getinfo("b.wav").header_offset
    data = bytearray(path.read_bytes())
    place = data.rfind(struct.pack("<I", second), data.find(b"PK\x01\x02"))
    data[place : place + 4] = struct.pack("<I", first)
    path.write_bytes(data)
    refused(path, "overlap")


def test_tables_that_take_gigabytes_are_refused(tmp_path):
    wide = ",".join(["file", "text", *map(str, range(200_000))]).encode()
    refused(packed(tmp_path, {"t.csv": wide + b"\na.wav,x\n", "a.wav": b""}), "too many columns.*more than 200")
    refused(packed(tmp_path, {"t.csv": b"file,text\na.wav,x\n" + b"x,y\n" * 300_000, "a.wav": b""}), "too many rows")
    cells = b"file,text\na.wav,x" + b"," * 5_000_000
    refused(packed(tmp_path, {"t.csv": cells, "a.wav": b""}), "line 2: 5000002 cells")
    refused(packed(tmp_path, {"t.csv": b"file,file,text\na.wav,b.wav,x\n", "a.wav": b""}), "Two columns have one name")


def test_of_thousands_of_failures_the_first_are_listed_and_the_rest_counted(tmp_path):
    rows = [("it_vm-tmpexists.flac", TEXTS[4.82]), *((f"gone{n}.wav", "x") for n in range(5000))]
    with zip_clips(packed(tmp_path, {"t.csv": table(rows), **italian()})) as clips:
        assert len(clips.failed) == 201 and clips.failed[-1].id == "4800 more rows"


def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(tmp_path):
    texts = ["=1+1", "+39 06", "-5", "@SUM(A1)", " =HYPERLINK(1)"]
    clips = [Clip(text, text, (DATA / "it_vm-tmpexists.flac").read_bytes) for text in texts]
    rows = list(csv.DictReader(io.StringIO(as_csv(evaluate(ClipSet("one", clips), {"one": knows(TEXTS)})))))
    assert [row["reference"] for row in rows] == [f"'{text}" for text in texts]
    assert [row["clip"] for row in rows] == [f"'{text}" for text in texts]


def test_real_transcribers_on_the_held_out_clips(base, tmp_path):
    def decoded_by(beam_size):
        return lambda waveform: base.transcribe(waveform, language="it", beam_size=beam_size).text

    with zip_clips(packed(tmp_path, {"t.csv": table(references()), **italian()})) as clips:
        found = evaluate(clips, {"greedy": decoded_by(1), "beam 5": decoded_by(5)}, language="it")
    assert found.failed == ()
    assert all(score.wer < 0.35 and score.cer < 0.15 for score in found.scores)
    alone = base.transcribe(DATA / ITALIAN[0]["file"], language="it").text
    assert found.clips[0].results[0].hypothesis == alone
    assert found.comparisons[0].verdict == "too short to tell"
