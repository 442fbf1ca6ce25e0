"""Test sets from a zip and from the Hub: every clip scored, no bad one fatal, nothing hostile let through."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import tempfile
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer
from huggingface_hub import HfApi
from paths import DATA

from shared.errors import Cancelled, UserError
from shared.testset import Clip, ClipSet, as_csv, as_jsonl, evaluate, hub_clips, zip_clips
from shared.testset import zip_reader as clips_module
from shared.wer import pooled, word_errors

CLIPS = list(csv.DictReader((DATA / "clips.csv").open(encoding="utf-8")))
ITALIAN = [row for row in CLIPS if row["language"] == "it"]


def packed(folder: Path, files: dict[str, bytes | str], name: str = "set.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in files.items():
            archive.writestr(key, content)
    return folder / name


def italian(under: str = "") -> dict[str, bytes]:
    return {under + row["file"]: (DATA / row["file"]).read_bytes() for row in ITALIAN}


def table(rows: list[tuple[str, str]], header: str = "file,text") -> str:
    out = io.StringIO()
    out.write(header + "\n")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def references() -> list[tuple[str, str]]:
    return [(row["file"], row["text"]) for row in ITALIAN]


def knows(texts: dict[float, str]):
    """A transcriber for plumbing: tells a clip by its length."""
    return lambda waveform: texts[round(waveform.duration, 2)]


TEXTS = {4.36: ITALIAN[0]["text"], 4.52: ITALIAN[1]["text"], 4.82: ITALIAN[2]["text"], 3.89: ITALIAN[3]["text"]}


def one_word_less(waveform):
    return TEXTS[round(waveform.duration, 2)].rsplit(" ", 1)[0]


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
    text = header + "\r\n" + "".join(f"{name}{delimiter}{said.replace(',', '')}\r\n" for name, said in references())
    path = packed(tmp_path, {"my set/refs.tsv": "\ufeff" + text, **italian("my set/clips/")})
    with zip_clips(path) as clips:
        assert clips.n_clips == 4
        assert [clip.reference for clip in clips.clips] == [said.replace(",", "") for _, said in references()]


def test_bare_quotation_marks_in_a_tsv(tmp_path):
    text = 'file\ttext\nit_priv-introsaved.flac\t"Grazie" e poi "no\nit_vm-mailboxfull.flac\tsì\n'
    with zip_clips(packed(tmp_path, {"t.tsv": text, **italian()})) as clips:
        assert [clip.reference for clip in clips.clips] == ['"Grazie" e poi "no', "sì"]


def test_columns_by_name_and_a_table_beside_the_zip(tmp_path):
    beside = tmp_path / "refs.csv"
    beside.write_text(table([("x", name[:-5], said) for name, said in references()[:2]], "text,recording,ord"))
    with zip_clips(packed(tmp_path, italian()), table=beside, audio_column="Recording", text_column="ord") as clips:
        assert [clip.reference for clip in clips.clips] == [said for _, said in references()[:2]]
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


def refused(path: Path, match: str, **options):
    with pytest.raises(UserError, match=match), zip_clips(path, **options):
        pass


def test_wrong_input_is_told_with_what_is_there(tmp_path):
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


def parquet(folder: Path, rows: list[dict]) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return (folder / "rows.parquet").read_bytes()


def hub_rows(column: str = "sentence") -> list[dict]:
    return [{"audio": {"bytes": (DATA / row["file"]).read_bytes(), "path": row["file"]}, column: row["text"]}
            for row in ITALIAN]


def test_rows_of_a_hub_data_set(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/clips", {"data/test-00000-of-00001.parquet": parquet(tmp_path, hub_rows())})
    found = evaluate(hub_clips("tester/clips"), {"one": knows(TEXTS)}, language="it")
    assert [clip.id for clip in found.clips] == [row["file"] for row in ITALIAN]
    assert found.scores[0].wer == 0
    assert found.origin == "tester/clips/test"
    assert len(evaluate(hub_clips("tester/clips", max_rows=2), {"one": knows(TEXTS)}).clips) == 2
    named = hub_clips("tester/clips", audio_column="audio", text_column="sentence", max_rows=1)
    assert [clip.reference for clip in named.clips] == [ITALIAN[0]["text"]]


def test_a_hub_data_set_with_several_configs(hub: HubServer, tmp_path):
    part = "- config_name: {0}\n  data_files:\n  - split: test\n    path: {0}/*\n"
    card = f"---\nconfigs:\n{part.format('sv')}{part.format('it')}---\n"
    data = parquet(tmp_path, hub_rows("transcription"))
    hub.add("dataset", "tester/two", {"README.md": card.encode(), "sv/test.parquet": data, "it/test.parquet": data})
    with pytest.raises(UserError, match=r"sv.*it"):
        hub_clips("tester/two")
    assert len(list(hub_clips("tester/two", config="it").clips)) == 4
    with pytest.raises(UserError, match=r"Available splits.*test"):
        hub_clips("tester/two", config="it", split="dev")


def test_wrong_hub_data_sets_are_explained(hub: HubServer, tmp_path, monkeypatch):
    hub.add("dataset", "tester/odd", {"test.parquet": parquet(tmp_path, hub_rows("ord"))})
    with pytest.raises(UserError, match="columns audio, ord"):
        hub_clips("tester/odd")
    with pytest.raises(UserError, match="no such data set"):
        hub_clips("tester/none")
    for name in ("csv", "/etc/passwd", "../x", "https://example.org/x", "a/b/c"):
        with pytest.raises(UserError, match="owner/name"):
            hub_clips(name)
    (tmp_path / "local" / "set").mkdir(parents=True)
    (tmp_path / "local" / "set" / "test.csv").write_text("audio,text\nx,secret\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="owner/name"):
        hub_clips("local/set")


def test_a_row_cannot_name_a_file_of_this_machine(hub: HubServer, tmp_path):
    secret = tmp_path / "secret.flac"
    secret.write_bytes(italian()["it_vm-mailboxfull.flac"])
    rows = [{"audio": {"bytes": None, "path": str(secret)}, "text": "x"},
            {"audio": {"bytes": None, "path": f"hf://datasets/tester/other@main/../{secret}"}, "text": "y"}]
    good = {"audio": hub_rows()[0]["audio"], "text": ITALIAN[0]["text"]}
    hub.add("dataset", "tester/sly", {"test.parquet": parquet(tmp_path, [*rows, good])})
    found = evaluate(hub_clips("tester/sly"), {"one": knows(TEXTS)}, language="it")
    assert len(found.clips) == 1
    assert all("holds no audio" in clip.message for clip in found.failed) and len(found.failed) == 2


def test_a_line_that_breaks_or_a_damaged_file_is_told_as_such(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/damaged", {"test.parquet": parquet(tmp_path, hub_rows())[:-100]})
    with pytest.raises(UserError, match=r"broke off.*Parquet"):
        hub_clips("tester/damaged")
    hub.add("dataset", "tester/clips", {"test.parquet": parquet(tmp_path, hub_rows())})
    hub.fail("resolve/.*", status=403)
    with pytest.raises(UserError, match="tester/clips"):
        hub_clips("tester/clips")


def test_a_data_set_that_breaks_off_half_way_keeps_what_came_before(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/long", {"test-00000-of-00002.parquet": parquet(tmp_path, hub_rows()),
                                       "test-00001-of-00002.parquet": parquet(tmp_path, hub_rows())[:-100]})
    found = evaluate(hub_clips("tester/long"), {"one": knows(TEXTS)}, language="it")
    assert len(found.clips) == 4
    assert "broke off" in found.failed[0].message


def test_loose_files_are_not_read_and_the_answer_says_what_would_be(hub: HubServer):
    loose = {"test/metadata.csv": table(references(), "file_name,text").encode(), **italian("test/")}
    hub.add("dataset", "tester/loose", loose)
    with pytest.raises(UserError, match="publish it as Parquet"):
        hub_clips("tester/loose")


def test_behind_a_script_the_parquet_copy_of_the_hub_is_read(hub: HubServer, tmp_path):
    name, branch = "tester/scripted", "refs/convert/parquet"
    hub.add("dataset", name, {"scripted.py": b"raise SystemExit"})
    with pytest.raises(UserError, match="publish it as Parquet"):
        hub_clips(name, config="it")
    api = HfApi()
    api.create_branch(name, repo_type="dataset", branch=branch)
    api.delete_file("scripted.py", repo_id=name, repo_type="dataset", revision=branch)
    for config in ("sv", "it"):
        rows = parquet(tmp_path, hub_rows(config))  # the text column tells which config was read
        api.upload_file(path_or_fileobj=rows, path_in_repo=f"{config}/test/0000.parquet", repo_id=name,
                        repo_type="dataset", revision=branch)
    found = evaluate(hub_clips(name, config="it", text_column="it"), {"one": knows(TEXTS)}, language="it")
    assert (len(found.clips), found.scores[0].wer) == (4, 0)


def test_real_transcribers_on_the_held_out_clips(base, tmp_path):
    def heard_by(beam_size):
        return lambda waveform: base.transcribe(waveform, language="it", beam_size=beam_size).text

    with zip_clips(packed(tmp_path, {"t.csv": table(references()), **italian()})) as clips:
        found = evaluate(clips, {"greedy": heard_by(1), "beam 5": heard_by(5)}, language="it")
    assert found.failed == ()
    assert all(score.wer < 0.35 and score.cer < 0.15 for score in found.scores)
    alone = base.transcribe(DATA / ITALIAN[0]["file"], language="it").text
    assert found.clips[0].heard[0].hypothesis == alone
    assert found.comparisons[0].verdict == "too short to tell"
