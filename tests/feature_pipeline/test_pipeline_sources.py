"""Every kind of corpus, on a small folder built to its published layout, read to the same rows."""

from __future__ import annotations

import json
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import piece, sentence, speech, wav, write_wav

from feature_pipeline.archives import sha256
from feature_pipeline.build import build
from feature_pipeline.config import Config, Source
from feature_pipeline.sources import nsc
from feature_pipeline.sources.common_voice import CommonVoice
from feature_pipeline.sources.folder import Folder
from feature_pipeline.sources.hub import Hub
from feature_pipeline.sources.kaldi import Kaldi
from feature_pipeline.sources.nsc import Nsc
from feature_pipeline.sources.subtitles import cues
from shared.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def mp3(samples: np.ndarray, folder: Path) -> bytes:
    from shared.audio import Waveform, encode

    return encode([Waveform(samples.astype(np.float32))], "mp3", 32, folder)[0]


# -- a folder of one's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content"), [
    ("metadata.csv", 'file_name,text,speaker,split\na.wav,"Well, yes.",me,train\nb/c.wav,Two,you,dev\n'),
    ("metadata.tsv", "path\tsentence\tclient_id\tsplit\na.wav\tWell, yes.\tme\ttrain\nb/c.wav\tTwo\tyou\tvalidation\n"),
    ("metadata.jsonl", '{"audio": "a.wav", "transcription": "Well, yes.", "speaker": "me", "split": "train"}\n'
                       '{"audio": "b/c.wav", "transcription": "Two", "speaker": "you", "split": "valid"}\n'),
])
def test_a_folder_with_a_table(name, content, tmp_path):
    (tmp_path / name).write_text("\ufeff" + content, encoding="utf-8")  # as spreadsheets save it
    a, b = Folder(str(tmp_path), "en").rows()
    assert (a.id, a.text, a.speaker, a.split) == ("a.wav", "Well, yes.", "me", "train")
    assert a.audio.path == tmp_path / "a.wav"
    assert (b.id, b.text, b.speaker, b.split) == ("b/c.wav", "Two", "you", "validation")


def test_a_table_without_the_wanted_column_names_those_it_has(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,words\na.wav,Hello\n")
    with pytest.raises(UserError, match=r"no column for the text.*file_name, words.*text_column"):
        list(Folder(str(tmp_path), "en").rows())
    with pytest.raises(UserError, match=r"no column 'wrods'.*file_name, words"):
        list(Folder(str(tmp_path), "en", text_column="wrods").rows())
    (row,) = Folder(str(tmp_path), "en", text_column="words").rows()
    assert row.text == "Hello"


def test_a_folder_with_text_beside_each_clip(tmp_path):
    write_wav(tmp_path / "test/anna/1.wav", piece(1))
    (tmp_path / "test/anna/1.txt").write_text("Hej då.\n", encoding="utf-8")
    write_wav(tmp_path / "train/bo/2.WAV", piece(2))
    one, two = Folder(str(tmp_path), "sv", speaker_from_folder=True).rows()
    assert (one.id, one.text, one.speaker, one.split) == ("test/anna/1.wav", "Hej då.", "anna", "test")
    assert (two.text, two.split) == ("", "train")  # without its text it is dropped later, with a reason


def test_long_recordings_are_cut_at_their_subtitles(tmp_path):
    write_wav(tmp_path / "talk.wav", speech()[: 20 * 16000])
    (tmp_path / "talk.srt").write_text(
        "1\r\n00:00:01,000 --> 00:00:03,500\r\nFirst <i>line</i>\r\nand second.\r\n\r\n"
        "2\r\n00:00:04,000 --> 00:00:04,000\r\nNo length.\r\n\r\n3\r\n00:00:05,25 --> 00:00:07,000\r\nThird.\r\n")
    first, third = Folder(str(tmp_path), "en").rows()
    assert (first.audio.start, first.audio.end, first.text) == (1.0, 3.5, "First <i>line</i> and second.")
    assert (third.audio.start, third.id) == (5.25, "talk.wav#00001")


def test_webvtt_with_voices_and_settings():
    text = ("WEBVTT\n\nNOTE made by hand\n\nintro\n01:02.500 --> 01:04.000 align:start\n<v Mary Ann>Hello &amp; hi.\n\n"
            "00:01:05.000 --> 00:01:06.000\n<v.loud Bob>No!</v>\n")
    first, second = cues(text)
    assert first == (62.5, 64.0, "<v Mary Ann>Hello & hi.", "Mary Ann") and second[3] == "Bob"


def test_an_empty_folder_and_a_missing_one(tmp_path):
    with pytest.raises(UserError, match="holds no audio"):
        list(Folder(str(tmp_path), "en").rows())
    with pytest.raises(UserError, match="no such folder"):
        list(Folder(str(tmp_path / "x"), "en").rows())


# -- Common Voice -----------------------------------------------------------------------------------------------------

COLUMNS = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tlocale"


def common_voice(root: Path, tables: dict[str, list[int]]) -> Path:
    """A release's locale folder; row n has n % 4 up votes and n % 3 down votes and speaker n % 5."""
    home = root / "cv-corpus-23.0-2026-01-01/sv-SE"
    (home / "clips").mkdir(parents=True)
    for name, numbers in tables.items():
        lines = [COLUMNS]
        for n in numbers:
            (home / f"clips/common_voice_sv-SE_{n}.mp3").write_bytes(mp3(piece(n, 1.2), home / "clips"))
            for spill in (home / "clips").glob("[0-9]*"):
                spill.unlink()
            lines.append(f"client{n % 5:040d}\tcommon_voice_sv-SE_{n}.mp3\ts{n}\tHan sa \"hej\" {sentence(n)}\t\t"
                         f"{n % 4}\t{n % 3}\tthirties\tmale\tSkåne\tsv-SE")
        (home / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_common_voice_with_its_own_splits(tmp_path):
    common_voice(tmp_path, {"train": [1, 2, 6], "dev": [3], "test": [4], "validated": [1, 2, 3, 4, 6, 9]})
    rows = list(CommonVoice("sv", path=str(tmp_path)).rows())
    assert [row.split for row in rows] == ["train", "train", "train", "validation", "test"]
    assert rows[0].text == f'Han sa "hej" {sentence(1)}'  # quotation marks are text here
    assert rows[0].speaker == rows[2].speaker != rows[1].speaker and "client" not in rows[0].speaker
    assert rows[0].extras["age"] == "thirties" and rows[0].audio.path.is_file()
    more = list(CommonVoice("sv", path=str(tmp_path), files=("train", "dev", "test", "validated")).rows())
    assert [(row.id, row.split) for row in more[5:]] == [("common_voice_sv-SE_9", "train")]


def test_common_voice_votes_locales_and_missing_tables(tmp_path):
    common_voice(tmp_path, {"train": [1, 2, 3, 5, 6], "dev": [], "test": []})
    found = CommonVoice("sv", path=str(tmp_path), min_up_votes=2, max_down_votes=1).rows()
    assert [row.id[-1] for row in found] == ["3", "6"]
    with pytest.raises(UserError, match=r"lacks a table.*invalidated.tsv.*dev, test, train"):
        list(CommonVoice("sv", path=str(tmp_path), files=("invalidated",)).rows())
    with pytest.raises(UserError, match=r"no such locale.*sv-SE"):
        list(CommonVoice("sv", path=str(tmp_path), locale="hi").rows())


def test_common_voice_as_downloaded(tmp_path, cache):
    common_voice(tmp_path / "r", {"train": [1, 2], "dev": [3], "test": [4]})
    archive = tmp_path / "cv-corpus-23.0-sv-SE.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "r/cv-corpus-23.0-2026-01-01", "cv-corpus-23.0-2026-01-01")
    source = CommonVoice("sv", path=str(archive))
    assert [row.id[-1] for row in source.rows()] == ["1", "2", "3", "4"]
    assert source.provenance()["archive_sha256"] == sha256(archive)


def test_mozilla_data_collective_wants_its_key(monkeypatch):
    monkeypatch.delenv("MDC_API_KEY", raising=False)
    with pytest.raises(UserError, match="MDC_API_KEY"):
        list(CommonVoice("sv", dataset="cmflnuzw5").rows())
    monkeypatch.setenv("MDC_API_KEY", "wrong")
    monkeypatch.setitem(sys.modules, "datacollective", None)  # as where it is not installed
    with pytest.raises(UserError, match="pip install datacollective"):
        list(CommonVoice("sv", dataset="cmflnuzw5").rows())


# -- the Hub ----------------------------------------------------------------------------------------------------------


def parquet_data_set(folder: Path, text_column: str = "transcription") -> Path:
    """As `datasets` writes one: an audio column of bytes and path, one file per split."""
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        rows = [{"id": 7, "audio": {"bytes": wav(piece(n)), "path": f"{n}.wav"}, text_column: sentence(n), "gender": 1}
                for n in numbers]
        (folder / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"data/{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_a_local_parquet_data_set(streaming, tmp_path):
    parquet_data_set(tmp_path)
    rows = list(Hub(str(tmp_path), "en", splits=("train", "test"), streaming=streaming).rows())
    assert [row.split for row in rows] == ["train"] * 6 + ["test"] * 3
    assert rows[2].text == sentence(2) and rows[2].audio.data == wav(piece(2)) and rows[2].audio.name == "2.wav"
    assert len({row.id for row in rows}) == 9  # FLEURS gives one id to several recordings


def test_a_wrong_column_is_answered_with_the_columns_there_are(tmp_path):
    parquet_data_set(tmp_path, text_column="words")
    with pytest.raises(UserError, match=r"no column for the text.*id, audio, words, gender.*text_column"):
        list(Hub(str(tmp_path), "en").rows())
    assert next(Hub(str(tmp_path), "en", text_column="words").rows()).text == sentence(0)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_private_data_set_on_the_hub(streaming, hub, tmp_path):
    commit = hub.add("dataset", "tester/prompts", parquet_data_set(tmp_path / "d"), private=True)
    source = Hub("tester/prompts", "en", splits=("train", "test"), streaming=streaming)
    assert source.provenance() == {"repo": "tester/prompts", "commit": commit}
    assert [row.text for row in source.rows()] == [sentence(n) for n in range(9)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("damage", ["end", "pages"])
def test_damaged_parquet_is_reported_as_such(tmp_path, streaming, damage):
    """It was "no such split", or a traceback."""
    path = tmp_path / "train.parquet"
    table = pa.Table.from_pylist([{"audio": {"bytes": bytes(range(256)) * 99, "path": "a.wav"}, "text": "x"}] * 40)
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    data = path.read_bytes()
    path.write_bytes(data[:-100] if damage == "end" else data[:6] + bytes(40) + data[46:])
    with pytest.raises(UserError, match="could not be read"):
        list(Hub(str(tmp_path), "en", splits=("train",), streaming=streaming).rows())



def test_a_data_set_that_is_not_there(hub):
    with pytest.raises(UserError, match="cannot be found on the Hub"):
        Hub("tester/nothing", "en").provenance()
    with pytest.raises(UserError, match="cannot be found on the Hub"):
        list(Hub("tester/nothing", "en").rows())


# -- Kaldi lists ------------------------------------------------------------------------------------------------------


def test_kaldi_lists(tmp_path):
    for split, numbers in (("train", (1, 2)), ("test", (3,))):
        home = tmp_path / split
        for n in numbers:
            write_wav(home / f"{n}.wav", piece(n))
        (home / "audio_paths.txt").write_text("".join(f"utt{n} {n}.wav\n" for n in numbers))
        (home / "text.txt").write_text("".join(f"utt{n} {sentence(n)}\n" for n in numbers))
        (home / "utt2spk").write_text("".join(f"utt{n} spk{n}\n" for n in numbers))
    rows = list(Kaldi(str(tmp_path), "en").rows())
    assert [(row.id, row.text, row.speaker, row.split) for row in rows] == [
        ("utt1", sentence(1), "spk1", "train"), ("utt2", sentence(2), "spk2", "train"),
        ("utt3", sentence(3), "spk3", "test")]
    assert all(row.audio.path.is_file() for row in rows)


def test_kaldi_segments_and_commands(tmp_path):
    write_wav(tmp_path / "long.wav", speech()[: 160000])
    (tmp_path / "wav.scp").write_text(f"rec1 {tmp_path / 'long.wav'}\n")
    (tmp_path / "segments").write_text("a rec1 0.5 2.25\n")
    (tmp_path / "text").write_text("a some words\n")
    (row,) = Kaldi(str(tmp_path), "en").rows()
    assert (row.audio.start, row.audio.end, row.audio.path) == (0.5, 2.25, tmp_path / "long.wav")
    (tmp_path / "wav.scp").write_text("rec1 sph2pipe -f wav x.sph |\n")
    with pytest.raises(UserError, match="commands from a list are not run"):
        list(Kaldi(str(tmp_path), "en").rows())


# -- the National Speech Corpus ---------------------------------------------------------------------------------------


def nsc_prompts(root: Path) -> Path:
    data = root / "PART1/DATA/CHANNEL1"
    (data / "SCRIPT").mkdir(parents=True)
    (data / "WAVE").mkdir()
    for speaker in ("0001", "0002"):
        lines, names = [], [f"1{speaker}0{n:03d}" for n in range(1, 4)]
        for n, name in enumerate(names):
            lines += [f"{name}\t{sentence(n)}", f"\t{sentence(n).lower()}"]
        (data / f"SCRIPT/1{speaker}0.TXT").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
        with zipfile.ZipFile(data / f"WAVE/SPEAKER{speaker}.zip", "w") as bundle:
            for n, name in enumerate(names[:2]):  # the third was never recorded
                bundle.writestr(f"SPEAKER{speaker}/SESSION0/{name}.WAV", wav(piece(int(speaker) * 10 + n, 1.5)))
    return root


def test_nsc_prompts_in_their_zips(tmp_path):
    rows = list(Nsc(str(nsc_prompts(tmp_path)), part=1, channel=1).rows())
    assert [row.id for row in rows] == ["100010001", "100010002", "100020001", "100020002"]
    assert rows[0].text == sentence(0) and rows[0].speaker == "nsc1-0001" and rows[0].split is None
    assert rows[3].audio.read() == wav(piece(21, 1.5))
    with pytest.raises(UserError, match="PART1/DATA/CHANNEL0"):
        list(Nsc(str(tmp_path), part=1).rows())


def test_nsc_builds_from_zips_without_unpacking_them(tmp_path):
    config = Config("nsc", (Source("nsc", Nsc(str(nsc_prompts(tmp_path)), part=1, channel=1), "nsc"),),
                    out=str(tmp_path / "out"), workers=1)
    out = build(config, say=lambda line: None)
    rows = [row for path in (out / "data").glob("*") for row in pq.read_table(path).to_pylist()]
    assert len(rows) >= 2 and all(row["audio"]["bytes"][:4] == b"RIFF" for row in rows)


TEXTGRID = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 12.5
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "3000-1"
        xmin = 0
        xmax = 12.5
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "<S>"
        intervals [2]:
            xmin = 1.5
            xmax = 4.25
            text = "(uh) so [lah] we say ""no"" (ppl)"
        intervals [3]:
            xmin = 4.25
            xmax = 5
            text = "<Z>"
        intervals [4]:
            xmin = 5
            xmax = 8
            text = "!wah! #kopi# _food_court_ <UNK>"
'''


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_nsc_conversations_are_cut_at_their_intervals(encoding, tmp_path):
    write_wav(tmp_path / "PART3/Audio Same CloseMic/3000-1.wav", speech()[: 200000])
    (tmp_path / "PART3/Scripts Same").mkdir()
    (tmp_path / "PART3/Scripts Same/3000-1.TextGrid").write_bytes(TEXTGRID.encode(encoding))
    one, two = Nsc(str(tmp_path), part=3).rows()
    assert (one.audio.start, one.audio.end, one.text) == (1.5, 4.25, 'uh so lah we say "no"')
    assert (two.text, two.speaker) == ("wah kopi food court", "nsc3-3000-1")


def test_nsc_telephone_conversations_lie_in_folders(tmp_path):
    write_wav(tmp_path / "PART3/AudioSeparateIVR/conf_2500_2500/00862025.wav", speech()[: 200000])
    (tmp_path / "PART3/ScriptsSeparate").mkdir()
    (tmp_path / "PART3/ScriptsSeparate/conf_2500_2500_00862025.TextGrid").write_text(TEXTGRID, encoding="utf-16")
    assert [row.audio.path.name for row in Nsc(str(tmp_path), part=3, microphone="IVR").rows()] == ["00862025.wav"] * 2


def test_marks_of_transcription_go_and_words_stay():
    assert nsc.spoken("<FIL/> (err) ~go (ppb) [ah] **") == "err go ah"


def test_a_damaged_zip_of_a_speaker_is_counted_and_stops_nothing(tmp_path):
    nsc_prompts(tmp_path)
    archive = tmp_path / "PART1/DATA/CHANNEL1/WAVE/SPEAKER0001.zip"
    data = bytearray(archive.read_bytes())
    data[2000:2100] = bytes(100)  # inside the first clip: its checksum no longer fits
    archive.write_bytes(data)
    config = Config("nsc", (Source("nsc", Nsc(str(tmp_path), part=1, channel=1), "nsc"),), out=str(tmp_path / "out"),
                    workers=1)
    facts = json.loads((build(config, say=lambda line: None) / "manifest.json").read_text())
    assert {drop["reason"]: drop["rows"] for drop in facts["drops"]}["undecodable"] == 1
