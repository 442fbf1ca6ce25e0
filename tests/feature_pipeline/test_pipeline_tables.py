"""Tables and lists as people have them: every row arrives, or a refusal names file and line."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from pathlib import Path

import corpora
import pytest

from feature_pipeline.build import build
from feature_pipeline.config import Config, Source
from feature_pipeline.rows import Row
from feature_pipeline.sources.common_voice import CommonVoice
from feature_pipeline.sources.folder import Folder
from feature_pipeline.sources.kaldi import Kaldi
from shared.errors import UserError
from shared.tables import Limits, read

TEXTS = ["Où est-il ?", "« Déjà », dit-elle.", "voilà l'été", "Garçon, un café !"]


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder with c0.wav … c3.wav and long.wav."""
    for n in range(len(TEXTS)):
        corpora.write_wav(tmp_path / f"c{n}.wav", corpora.piece(n))
    corpora.write_wav(tmp_path / "long.wav", corpora.piece(50, 6.0))
    return tmp_path


def rows(home: Path, **options) -> list[Row]:
    return list(Folder(str(home), options.pop("language", "fr"), **options).rows())


def lines(first: str, form: str) -> str:
    """A table of the four clips: its first line, and one line for each, `form` with n and text."""
    found = [form.format(n=n, text=text) for n, text in enumerate(TEXTS)]
    return "\n".join([first, *found] if first else found) + "\n"


CSV = lines("file_name,text", 'c{n}.wav,"{text}"')
TABLES = {
    "semicolons, BOM and CRLF of Excel": ("metadata.csv", ("\ufeff" + lines("file_name;text", 'c{n}.wav;"{text}"')
                                                           ).replace("\n", "\r\n").encode()),
    "Excel's sep= line": ("metadata.csv", ("sep=;\n" + lines("file_name;text", "c{n}.wav;{text}")).encode()),
    "Windows-1252": ("metadata.csv", CSV.encode("cp1252")),
    "UTF-16 as Excel's Unicode text": ("metadata.tsv", lines("file_name\ttext", "c{n}.wav\t{text}").encode("utf-16")),
    "UTF-16 without its mark": ("metadata.csv", CSV.encode("utf-16-le")),
    "line ends of old Macintosh": ("metadata.csv", CSV.replace("\n", "\r").encode()),
    "column names in capitals, with spaces": (
        "metadata.csv", CSV.replace("file_name,text", "File Name, TEXT").encode()),
    "LJSpeech": ("metadata.csv", lines("", "c{n}|{text}|{text}").encode()),
    "LJSpeech in two columns": ("metadata.csv", lines("", "c{n}|{text}").encode()),
    "backslashes": ("metadata.csv", lines("file_name,text", '.\\c{n}.wav,"{text}"').encode()),
    "paths of another machine": (
        "metadata.csv", lines("path,text", 'C:\\Users\\me\\My clips\\c{n}.wav,"{text}"').encode()),
    "paths of another Unix machine": ("metadata.csv", lines("path,text", '/home/me/clips/c{n}.wav,"{text}"').encode()),
    "another case": ("metadata.csv", lines("file_name,text", 'C{n}.WAV,"{text}"').encode()),
    "another ending": ("metadata.csv", lines("file_name,text", 'c{n}.mp3,"{text}"').encode()),
    "no ending": ("metadata.csv", lines("file_name,text", 'c{n},"{text}"').encode()),
    "another name": ("transcripts-final.csv", CSV.encode()),
    "another ending of the table": ("metadata.csv", lines("file_name\ttext", "c{n}.wav\t{text}").encode()),
    "JSON with audio as a table": ("metadata.jsonl", "".join(
        json.dumps({"audio": {"path": f"c{n}.wav", "bytes": None}, "text": text, "speaker": n}) + "\n"
        for n, text in enumerate(TEXTS)).encode()),
    "a JSON list": ("metadata.json", json.dumps(
        [{"file": f"c{n}.wav", "sentence": text} for n, text in enumerate(TEXTS)], indent=1).encode()),
    "packed with gzip": ("metadata.tsv.gz", gzip.compress(lines("path\tsentence", "c{n}.wav\t{text}").encode())),
    "no line of names": ("metadata.csv", lines("", 'c{n}.wav,"{text}"').encode()),
    "no line of names, the text first": ("metadata.tsv", lines("", "{text}\tc{n}.wav").encode()),
    "addresses": ("metadata.csv", lines("path,text", 'https://example.org/my%20clips/c{n}.wav?dl=1,"{text}"').encode()),
    "names as in an address": ("metadata.csv", lines("path,text", 'file:///home/me/%63{n}.wav,"{text}"').encode()),
    "audio as pandas writes a table": ("metadata.csv", lines(
        "audio,text", "\"{{'bytes': None, 'path': 'c{n}.wav'}}\",\"{text}\"").encode()),
    "one id for all": ("metadata.csv", lines("id,file_name,text", '7,c{n}.wav,"{text}"').encode()),
    "a JSON list on one line": ("metadata.json", json.dumps(
        [{"file": f"c{n}.wav", "sentence": text} for n, text in enumerate(TEXTS)]).encode()),
}


@pytest.mark.parametrize("form", TABLES)
def test_every_row_of_a_table_arrives(form, home):
    name, data = TABLES[form]
    (home / name).write_bytes(data)
    found = rows(home)
    assert [row.text for row in found] == TEXTS
    assert [row.audio.path for row in found] == [home / f"c{n}.wav" for n in range(len(TEXTS))]


def test_quotation_marks_in_tab_tables_enclose_or_are_text(home):
    quoted = 'file_name\ttext\nc0.wav\t"Two\nlines"\nc1.wav\t"She said ""no""."\nc2.wav\tplain\n'
    (home / "metadata.tsv").write_text(quoted)
    assert [row.text for row in rows(home)] == ["Two\nlines", 'She said "no".', "plain"]
    # As Common Voice writes them: bare marks, also one that opens in a row and another that closes in a later one.
    (home / "metadata.tsv").write_text(
        'file_name\ttext\tage\nc0.wav\t"No," she said.\t\nc1.wav\t"Yes\t\nc2.wav\tWell"\t\n')
    assert [row.text for row in rows(home)] == ['"No," she said.', '"Yes', 'Well"']
    (home / "metadata.tsv").write_text('file_name\ttext\nc0.wav\t"All of it."\nc1.wav\tsome\n')
    assert [row.text for row in rows(home)] == ['"All of it."', "some"]


def test_nemo_manifests_cut_their_recordings(home):
    (home / "manifest.jsonl").write_text("".join(json.dumps(
        {"audio_filepath": "long.wav", "offset": n * 1.5, "duration": 1.5, "text": text}) + "\n"
        for n, text in enumerate(TEXTS)))
    found = rows(home)
    assert [(row.audio.start, row.audio.end) for row in found] == [(0, 1.5), (1.5, 3.0), (3.0, 4.5), (4.5, 6.0)]
    assert len({row.id for row in found}) == 4
    (home / "manifest.jsonl").write_text('{"audio_filepath": "c0.wav", "duration": 1.0, "text": "whole"}\n')
    (row,) = rows(home)
    assert row.audio.end is None  # a duration alone says how long the file is


def test_speakers_and_ids_may_be_numbers_and_a_language_any_name(home):
    (home / "metadata.jsonl").write_text(
        '{"file_name": "c0.wav", "text": "a", "speaker": 7, "id": 3, "language": "Norwegian", "split": "Dev"}\n'
        '{"file_name": "c1.wav", "text": null, "speaker": 8.0, "id": "4", "language": null, "split": null}\n')
    one, two = rows(home)
    assert (one.speaker, one.id, one.language, one.split) == ("7", "3", "no", "validation")
    assert (two.speaker, two.id, two.language, two.split, two.text) == ("8", "4", "fr", None, "")


def test_tables_of_splits_and_of_folders_below(home):
    (home / "train.csv").write_text("file_name,text\nc0.wav,a\nc1.wav,b\n")
    (home / "test.csv").write_text("file_name,text\nc2.wav,c\n")
    assert sorted((row.id, row.split) for row in rows(home)) == [
        ("c0.wav", "train"), ("c1.wav", "train"), ("c2.wav", "test")]
    (home / "train.csv").unlink(), (home / "test.csv").unlink()
    for split in ("train", "test"):
        corpora.write_wav(home / f"{split}/a.wav", corpora.piece(3))
        (home / f"{split}/metadata.csv").write_text("file_name,text\na.wav,x\n")
    assert [(row.id, row.split) for row in rows(home)] == [("test/a.wav", "test"), ("train/a.wav", "train")]


@pytest.mark.parametrize(("language", "encoding", "text"), [
    ("fr", "cp1252", "Où est l'œuf ? 10 €"), ("pl", "cp1250", "Zażółć gęślą jaźń"), ("ru", "cp1251", "Привет, Мир"),
    ("el", "cp1253", "Καλημέρα"), ("ja", "cp932", "こんにちは"), ("de", "utf-16", "Grüße")])
def test_a_text_beside_a_clip_in_the_code_page_of_its_language(language, encoding, text, home):
    (home / "c0.txt").write_bytes(text.encode(encoding))
    assert rows(home, language=language)[0].text == text


@pytest.mark.parametrize(("language", "encoding", "text"), [
    ("fr", "cp850", "déjà vu"), ("fr", "mac_roman", "déjà vu"), ("ru", "koi8-r", "привет мир"),
    ("en", "cp1250", "żółć")])
def test_a_text_in_another_encoding_is_refused_with_file_and_line(language, encoding, text, home):
    (home / "metadata.csv").write_bytes(b"file_name,text\nc0.wav,fine\nc1.wav," + text.encode(encoding) + b"\n")
    with pytest.raises(UserError, match=r"neither in UTF-8.*metadata.csv, line 3.*save it as UTF-8"):
        rows(home, language=language)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("metadata.csv", "file_name,text\nc0.wav,Well, no\n", r"more cells than there are.*metadata.csv, line 2: 3 cells"),
    ("metadata.csv", 'file_name,text\nc0.wav,ok\nc1.wav,"a" b, c\n', r"metadata.csv, (after )?line [23]"),
    ("metadata.csv", "file_name,text\n,Hello\n", r"names no audio.*metadata.csv, line 2"),
    ("metadata.csv", "file_name,text\n", r"has no row.*metadata.csv"),
    ("metadata.csv", "", r"empty.*metadata.csv"),
    ("metadata.csv", "clip one,words\nc1.wav,Hi\n", r"metadata.csv has no column for the audio.*clip one, words"),
    ("metadata.csv", "file_name,text,Text\nc0.wav,a,b\n", r"Two columns have one name.*text in metadata.csv, line 1"),
    ("metadata.csv", "file_name,text,split\nc0.wav,a,fold1\n", r"split is none.*'fold1' in metadata.csv, line 2"),
    ("metadata.csv", "file_name,text,language\nc0.wav,a,Klingonish\n", r"no such language.*metadata.csv, line 2"),
    ("metadata.csv", "file_name,text,offset,duration\nlong.wav,a,1,x\n", r"“duration” must be a number.*csv, line 2"),
    ("metadata.csv", "file_name,text,start,end\nlong.wav,a,3,2\n", r"ends before it begins.*3 to 2 s in metadata.csv"),
    ("metadata.jsonl", '{"file_name": "c0.wav", "text": "a"}\n[]\n', r"metadata.jsonl, line 2 is a list"),
    ("metadata.jsonl", '{"file_name": "c0.wav", "text": "a"}\nnull\n', r"metadata.jsonl, line 2 is null"),
    ("metadata.jsonl", '{"file_name": "c0.wav", "text": "a"}\n{"file_name":\n', r"not JSON.*metadata.jsonl, line 2"),
    ("metadata.jsonl", '{"file_name": "c0.wav", "text": ["a"]}\n', r"“text” must be text.*metadata.jsonl, line 1"),
    ("metadata.jsonl", '{"file_name": {"array": [1]}, "text": "a"}\n', r"names no audio.*metadata.jsonl, line 1"),
    ("metadata.jsonl", '{"file_name": "c0.wav", "text": "\\ud800"}\n', r"metadata.jsonl, line 1"),
])
def test_what_cannot_be_read_is_refused_with_file_and_line(name, content, message, home):
    (home / name).write_text(content)
    with pytest.raises(UserError, match=message):
        rows(home)


def test_a_name_that_fits_several_files_is_refused(home):
    corpora.write_wav(home / "c0.flac", corpora.piece(1))
    (home / "metadata.csv").write_text("file_name,text\nc0,Hello\n")
    with pytest.raises(UserError, match=r"Several files fit.*c0” in metadata.csv, line 2: c0.flac, c0.wav"):
        rows(home)
    (home / "metadata.csv").write_text("file_name,text\nC:\\a\\c1.wav,Hello\nC:\\b\\c1.wav,Bye\n")
    with pytest.raises(UserError, match=r"Two names lead to one file.*metadata.csv, line 3"):
        rows(home)


def test_two_tables_are_not_chosen_between_in_silence(home):
    (home / "metadata.csv").write_text(CSV)
    (home / "metadata.tsv").write_text("file_name\ttext\nc0.wav\ta\n")
    with pytest.raises(UserError, match=r"several tables.*metadata.csv, metadata.tsv.*`table`"):
        rows(home)
    assert len(rows(home, table="metadata.tsv")) == 1


def test_kaldi_lists_with_tabs_and_what_is_wrong_in_them(home):
    (home / "wav.scp").write_text("".join(f"u{n}\tc{n}.wav\n" for n in range(4)))
    (home / "text").write_bytes("".join(f"u{n}\t{text}\n" for n, text in enumerate(TEXTS[:3])).encode("cp1252"))
    found = list(Kaldi(str(home), "fr").rows())
    assert [row.text for row in found] == [*TEXTS[:3], ""]  # the fourth is counted as a row without text
    for name, content, message in [("wav.scp", "u0 c0.wav\nu0 c1.wav\n", "there twice.*wav.scp, line 2"),
                                   ("wav.scp", "u0\n", "has no file.*wav.scp, line 1"),
                                   ("segments", "u0 u1 0.5\n", "A segment must be.*segments, line 1"),
                                   ("segments", "u0 u9 0.5 1\n", "no recording.*segments, line 1")]:
        before = (home / name).read_text() if (home / name).exists() else None
        (home / name).write_text(content)
        with pytest.raises(UserError, match=message):
            list(Kaldi(str(home), "fr").rows())
        (home / name).unlink() if before is None else (home / name).write_text(before)


def test_common_voice_with_wav_and_its_spontaneous_form(home):
    (home / "clips").mkdir()
    for n in range(4):
        (home / f"c{n}.wav").rename(home / f"clips/c{n}.wav")
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes"
    for name, ending, numbers in (("train", ".wav", (0, 1)), ("dev", ".mp3", (2,)), ("test", "", (3,))):
        (home / f"{name}.tsv").write_text("\n".join(
            [header, *(f"s{n}\tc{n}{ending}\t{TEXTS[n]}\t2\t0" for n in numbers)]) + "\n")
    found = list(CommonVoice("fr", path=str(home)).rows())
    assert [row.text for row in found] == TEXTS
    assert [row.split for row in found] == ["train", "train", "validation", "test"]
    assert all(row.audio.path.is_file() for row in found)
    for name in ("train", "dev", "test"):
        (home / f"{name}.tsv").unlink()
    (home / "clips").rename(home / "audios")
    header = "client_id\taudio_file\tduration_ms\tprompt\ttranscription\tvotes\tsplit\n"
    (home / "ss-corpus-fr.tsv").write_text(header + "".join(
        f"s{n}\tc{n}.mp3\t1000\tUne question ?\t{TEXTS[n]}\t1\t{split}\n"
        for n, split in enumerate(("train", "dev", "test", ""))))
    found = list(CommonVoice("fr", path=str(home)).rows())
    assert [row.text for row in found] == TEXTS
    assert [row.split for row in found] == ["train", "validation", "test", None]
    assert all(row.audio.path.is_file() for row in found)


def test_no_row_left_shows_the_first_and_why(home):
    (home / "metadata.csv").write_text("file_name,text\nx0.wav,Bonjour\nx1.wav,Salut\n")
    config = Config("none", (Source("folder", Folder(str(home), "fr"), "mine"),), out=str(home / "out"), workers=1)
    with pytest.raises(UserError, match=r"left.*undecodable \(2\).*mine/x0.wav, “Bonjour”: undecodable \(.*x0.wav"):
        build(config, say=lambda line: None)


def test_a_table_from_a_stranger_is_refused_before_it_is_built():
    wide = ("a," * 200_000 + "a\n" + "x," * 200_000 + "x\n").encode()
    long = b"file,text\n" + b"a.wav,b\n" * 50_000
    with pytest.raises(UserError, match=r"too many columns.*more than 200.*Limit: 200"):
        list(read(lambda: io.BytesIO(wide), "t.csv", None, Limits(columns=200)))
    with pytest.raises(UserError, match=r"too many rows.*Limit: 20000"):
        list(read(lambda: io.BytesIO(long), "t.csv", None, Limits(rows=20_000)))
    with pytest.raises(UserError, match=r"not in UTF-8.*t.csv, line 2"):
        list(read(lambda: io.BytesIO(b"file,text\na.wav,\xe9\n"), "t.csv"))


PIECES = (b'"', b"\t", b",", b";", b"|", b"\n", b"\r", b"\0", b"{", b"[", b"null\n", b"\\ud800", b"1e999", b"-1",
          b"\xff\xfe", b"../", b"C:\\", b"a" * 300)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to four changes of the kinds that damage and other programs make."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            data[place : place + chance.randint(1, 20)] = b""
        elif kind == 1:
            data[place:place] = chance.randbytes(chance.randint(1, 8))
        elif kind == 2:
            data[place:place] = chance.choice(PIECES)
        elif kind == 3 and data:
            data[min(place, len(data) - 1)] = chance.randrange(256)
        elif kind == 4:
            other = chance.randrange(len(data) + 1)
            data[place:place] = data[min(place, other) : max(place, other)]
        else:
            del data[place:]
    return bytes(data)


@pytest.mark.slow
def test_three_hundred_damaged_tables_are_read_or_refused(home):
    """Whatever the bytes are: rows, or a UserError that names file and line."""
    chance, forms = random.Random(16), sorted(TABLES)
    n_read = n_refused = 0
    for number in range(300):
        name, data = TABLES[forms[number % len(forms)]]
        (home / name).write_bytes(mutated(data, chance))
        try:
            found = rows(home)
            assert all(isinstance(row.text, str) and row.text.encode() is not None for row in found)
            n_read += 1
        except UserError as error:
            assert re.search(rf"{name}.*(line|item) \d|(empty|no row|cannot be unpacked).*{name}|{name} has no column",
                             str(error))
            n_refused += 1
        (home / name).unlink()
    assert n_read > 50 and n_refused > 50


@pytest.mark.parametrize(("names", "form"), [
    ("offset;duration", "{n},5;0,5"), ("start_ms;end_ms", "{n}500;{n}990"), ("Begin;End", "{n}.5;{n}.99"),
    ("start_time_sec;duration_sec", "{n}.5;.49"), ("start;end", "0:0{n}.5;00:00:0{n}.99")])
def test_parts_of_a_long_recording_in_every_unit_that_names_itself(home, names, form):
    (home / "metadata.csv").write_text(lines(f"file_name;{names};text", "long.wav;" + form + ";{text}"))
    found = rows(home)
    assert [row.audio.start for row in found] == [0.5, 1.5, 2.5, 3.5] and len({row.id for row in found}) == 4
    assert all(row.audio.end == pytest.approx(row.audio.start + 0.49, abs=0.02) for row in found)


@pytest.mark.parametrize("names", ["start_sample;end_sample", "frame_offset;num_frames", "from;to"])
def test_two_texts_for_one_recording_are_refused(home, names):
    """Each would label all of it: the first did, and the others were dropped as duplicates."""
    (home / "metadata.csv").write_text(lines(f"file_name;{names};text", "long.wav;{n}6000;{n}9000;{text}"))
    with pytest.raises(UserError, match=r"one recording two texts.*long.wav.*line 2\).*line 3\).*offset"):
        rows(home)


@pytest.mark.parametrize("other", ["metadata.xlsx", "texts.ods", "train.parquet", "transcripts.txt", "c0.TextGrid"])
def test_a_table_that_is_not_read_is_named(home, other):
    (home / other).write_bytes(b"PK\x03\x04 or any other bytes")
    with pytest.raises(UserError, match=rf"No clip has a text.*Got: {other}.*metadata.csv"):
        rows(home)


def test_nan_in_json_is_no_text(home):
    (home / "metadata.jsonl").write_text('{"file_name": "c0.wav", "text": NaN}\n{"file_name": "c1.wav", "text": "x"}\n')
    assert [row.text for row in rows(home)] == ["", "x"]


@pytest.mark.parametrize("line", ["a,c0.wav,hello", "c0.wav,1.5,hello", "c0.wav"])
def test_a_table_without_names_and_of_another_form_is_refused(home, line):
    (home / "metadata.csv").write_text(f"{line}\n{line}\n")
    with pytest.raises(UserError, match=r"no line of column names.*metadata.csv, line 1: .*c0.wav"):
        rows(home)
