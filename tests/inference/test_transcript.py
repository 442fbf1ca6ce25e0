"""Six formats from one Transcript; subtitles that a real program reads and a person can."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from itertools import pairwise

import docx
import pytest

from shared.audio import ffmpeg_executable
from shared.transcript import FORMATS, Segment, Transcript, Word, cues, sentences
from shared.transcript.subtitles import CHARACTERS_PER_SECOND, LINE_COLUMNS, MAX_SECONDS, N_LINES

LONG = ("Unless to be rather cold-hearted and rather selfish is to be ill-disposed: but he was, in general, well "
        "respected; for he conducted himself with propriety in the discharge of his ordinary duties. Had he married a "
        "more amiable woman, he might have been made still more respectable than he was.")
SPOKEN = Transcript(
    (Segment("Grazie.", 0.2, 0.9), Segment(LONG, 1.0, 19.0), Segment("a < b & c", 25.0, 26.0, speaker="Speaker 1")),
    "en", 30.0,
)


def test_cues_keep_the_subtitle_rules():
    found = cues(SPOKEN)
    assert " ".join(line for cue in found for line in cue.lines) == f"Grazie. {LONG} Speaker 1: a < b & c"
    for cue, following in zip(found, [*found[1:], None], strict=True):
        assert len(cue.lines) <= N_LINES and all(len(line) <= LINE_COLUMNS for line in cue.lines)
        assert 0 < cue.end - cue.start <= MAX_SECONDS
        assert following is None or cue.end <= following.start
    readable = [cue for cue in found if len(" ".join(cue.lines)) / (cue.end - cue.start) <= CHARACTERS_PER_SECOND + 1]
    assert len(readable) >= len(found) - 1


def test_word_times_decide_where_a_cue_starts():
    words = tuple(Word(f" word{i}", 10 + i, 10.8 + i, 0.9) for i in range(20))
    transcript = Transcript((Segment("".join(w.text for w in words).strip(), 10, 30, words),), "en", 31)
    for cue in cues(transcript):
        first = int(cue.lines[0].split()[0].removeprefix("word"))
        assert cue.start == pytest.approx(10 + first, abs=0.11)


def test_a_long_segment_is_cut_into_sentences():
    texts = [" Grazie.", " Attenda", " in", " linea.", " Poi"]
    words = tuple(Word(text, i, i + 0.9, 0.9) for i, text in enumerate(texts))
    parts = sentences(Segment("Grazie. Attenda in linea. Poi", 0, 5, words))
    assert [(part.text, part.start, part.end) for part in parts] == [
        ("Grazie.", 0, 0.9), ("Attenda in linea.", 1, 3.9), ("Poi", 4, 4.9)]
    without_times = Segment("One. Two.", 0, 3)
    assert sentences(without_times) == [without_times]


@pytest.mark.parametrize(("pieces", "text"), [
    (("Good morning.", "How are you?"), "Good morning. How are you?"),
    (("今日は。", "晴れです。"), "今日は。晴れです。"),
    (("「はい」", "「いいえ」"), "「はい」「いいえ」"), (("สวัสดี", "ครับ"), "สวัสดีครับ"), (("នេះ", "ជា"), "នេះជា"),
    (("안녕하세요.", "반갑습니다."), "안녕하세요. 반갑습니다."), (("नमस्ते।", "आप कैसे हैं?"), "नमस्ते। आप कैसे हैं?"), ((), "")])
def test_segments_are_joined_as_their_script_is_written(pieces, text):
    segments = tuple(Segment(piece, i, i + 1) for i, piece in enumerate(pieces))
    assert Transcript(segments, "ja", 9.0).text == text


def test_wide_characters_count_two():
    transcript = Transcript((Segment("これは字幕の長さを確かめるための長い日本語の文章です。" * 3, 0, 15),), "ja", 15)
    assert all(len(line) <= LINE_COLUMNS // 2 for cue in cues(transcript) for line in cue.lines)


UNSPACED = {
    "ja": "こんにちは難波です今回も前回に引き続いて奥谷先生に来ていただいています 何だか話によると補助金の"
          "獲得率が百パーセントだとか採択率も百パーセント、素晴らしいですね。今回は「生産性の向上」を図る企業を応援してくれる"
          "こんな補助金があるそうでっきゃー",
    "zh": "我们今天使用 Python 语言来编写一个非常简单的语音识别程序，"
          "然后把它部署到服务器上面（大家都可以通过 HTTPS 网页来访问它）"
          "并且测试它的识别效果怎么样，价格是100％免费的don’t panic,好",
    "th": "สวัสดีครับวันนี้เราจะมาพูดถึงเรื่อง การถอดเสียงพูดเป็นข้อความด้วยโมเดลวิสเปอร์ซึ่งทำงานได้ดีมาก"
          "ในภาษาไทยและภาษาอื่นๆอีกมากมายทั่วโลก",
    "lo": "ສະບາຍດີ ມື້ນີ້ພວກເຮົາຈະມາເວົ້າກ່ຽວກັບການຖອດສຽງເວົ້າເປັນຂໍ້ຄວາມດ້ວຍແບບຈຳລອງທີ່ເຮັດວຽກໄດ້ດີຫຼາຍໃນພາສາລາວ",
    "my": "မင်္ဂလာပါ ဒီနေ့ကျွန်တော်တို့ဟာအသံကိုစာသားအဖြစ်ပြောင်းလဲပေးတဲ့မော်ဒယ်အကြောင်းပြောကြမှာဖြစ်ပါတယ်",
    "km": "សួស្តី ថ្ងៃនេះយើងនឹងនិយាយអំពីការបម្លែងសំឡេងនិយាយទៅជាអត្ថបទដោយប្រើគំរូដែលដំណើរការបានយ៉ាងល្អជាភាសាខ្មែរ",
    "hi": "नमस्ते आज हम बात करेंगे कि किस प्रकार स्थानीय भाषाओं में बोले गए शब्दों को लिखित पाठ में बदला जाता है और यह कितना उपयोगी है",
}


def spoken(language: str, timed: str) -> Segment:
    """A text without a pause and with no word times, with a time for each letter, or for each word of Latin letters."""
    text = UNSPACED[language]
    pieces = {"no": [], "letters": re.findall(r" ?.", text), "words": re.findall(r" ?[A-Za-z]+| ?.", text)}[timed]
    step = 0.16
    words = tuple(Word(piece, i * step, (i + 1) * step, 0.9) for i, piece in enumerate(pieces))
    return Segment(text, 0.0, len(words) * step or 21.0, words)


@pytest.mark.parametrize("timed", ["no", "letters", "words"])
@pytest.mark.parametrize("language", UNSPACED)
def test_scripts_without_spaces_are_broken_between_their_characters(language, timed):
    segment = spoken(language, timed)
    found = cues(Transcript((segment,), language, segment.end))
    lines = [line for cue in found for line in cue.lines]
    assert "".join(lines).replace(" ", "") == segment.text.replace(" ", ""), "all of it, in order"
    for cue, following in pairwise(found):
        assert following.start - cue.end < 0.1, "on screen while it is spoken"
    assert found[0].start == 0 and found[-1].end >= segment.end - 0.05
    for cue in found:
        assert len(cue.lines) <= N_LINES and cue.end - cue.start <= MAX_SECONDS + 1e-9
    for line in lines:
        assert columns(line) <= LINE_COLUMNS
        assert unicodedata.category(line[0])[0] != "M" and line[0] not in "、。，）」％’ๆำะゃーっ,"
        assert line[-1] not in "（「เแโใไ" and line[-1] not in "\u17d2\u1039"
    for word in ("Python", "HTTPS", "don’t", "100％"):
        assert (word in segment.text) == any(word in line for line in lines)


def columns(text: str) -> int:
    return sum(0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)


@pytest.mark.parametrize("word_ends", [1.4, 30.0])
def test_no_cue_stays_on_over_a_silence_within_a_segment(word_ends):
    words = (Word(" Please", 0.2, 0.6, 0.9), Word(" hold.", 0.7, word_ends, 0.9), Word(" You", 42.0, 42.3, 0.9),
             Word(" have", 42.3, 42.6, 0.9), Word(" a", 42.6, 42.7, 0.9), Word(" call.", 42.7, 43.2, 0.9))
    transcript = Transcript((Segment("Please hold. You have a call.", 0.2, 43.2, words),), "en", 45.0)
    found = cues(transcript)
    assert [" ".join(cue.lines) for cue in found] == ["Please hold.", "You have a call."]
    assert found[0].end <= MAX_SECONDS + 0.2 and found[1].start == 42.0


def test_no_cue_lasts_into_the_next_sentence():
    """The last word before it was given more time than it had."""
    segments = (Segment("Wait for that extension.", 0.0, 1.5,
                        (Word(" Wait", 0.0, 0.4, 0.9), Word(" for", 0.4, 0.6, 0.9), Word(" that", 0.6, 0.8, 0.9),
                         Word(" extension.", 0.8, 5.1, 0.9))),
                Segment("It is complete.", 2.0, 5.1,
                        (Word(" It", 2.0, 2.3, 0.9), Word(" is", 2.3, 2.6, 0.9), Word(" complete.", 2.6, 5.1, 0.9))))
    first, second = cues(Transcript(segments, "en", 6.0))
    assert first.end < second.start == 2.0


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_ffmpeg_reads_the_subtitles_back(tmp_path, name):
    path = tmp_path / f"subtitles.{name}"
    path.write_text(FORMATS[name](SPOKEN), encoding="utf-8")
    done = subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(path), "-f", "srt", "-"],
                          capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stderr == ""
    blocks = [block.splitlines() for block in done.stdout.strip().split("\n\n")]
    assert len(blocks) == len(cues(SPOKEN))
    assert "Unless to be rather" in blocks[1][2]
    assert any("a < b & c" in line or "a &lt; b &amp; c" in line for line in blocks[-1])


def test_json_comes_back_equal():
    words = (Word(" Grazie.", 0.2, 0.9, 0.75, "Speaker 1"),)
    transcript = Transcript((Segment("Grazie.", 0.2, 0.9, words, "Speaker 1", 0.01, -0.2),), "it", 1.0, ("cut off",))
    assert Transcript.from_dict(json.loads(FORMATS["json"](transcript))) == transcript


def test_tsv_and_txt():
    assert FORMATS["tsv"](SPOKEN).splitlines()[:2] == ["start\tend\tspeaker\ttext", "200\t900\t\tGrazie."]
    one_speaker_not_asked = Transcript(SPOKEN.segments[:2], "en", 30.0)
    assert FORMATS["tsv"](one_speaker_not_asked).splitlines()[:2] == ["start\tend\ttext", "200\t900\tGrazie."]
    assert FORMATS["txt"](SPOKEN).splitlines()[-1] == "Speaker 1: a < b & c"


def test_a_word_document_has_times_speakers_and_no_letters_that_xml_refuses(tmp_path):
    odd = Transcript((*SPOKEN.segments, Segment("a\x00b\x0b <c>", 3725.0, 3726.0, (), "Speaker\x01 2"),
                      Segment("שלום", 3727.0, 3728.0)), "en", 3730.0)
    (tmp_path / "text.docx").write_bytes(FORMATS["docx"](odd))
    paragraphs = docx.Document(str(tmp_path / "text.docx")).paragraphs
    assert len(paragraphs) == len(odd.segments)
    assert paragraphs[-2].text == "1:02:05  Speaker 2: ab <c>" and paragraphs[-1].text == "1:02:07  שלום"
    assert [run.bold for run in paragraphs[-2].runs] == [None, True, None]
    assert "w:bidi" in paragraphs[-1]._p.xml and "w:bidi" not in paragraphs[0]._p.xml


@pytest.mark.parametrize("name", FORMATS)
def test_no_speech_is_a_valid_file(name):
    text = FORMATS[name](Transcript((), "en", 3.0))
    assert text == {"txt": "", "srt": "", "vtt": "WEBVTT\n\n", "tsv": "start\tend\ttext\n"}.get(name, text)
    if name == "json":
        assert json.loads(text)["text"] == ""
