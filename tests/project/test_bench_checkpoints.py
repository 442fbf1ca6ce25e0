"""The comparison of several checkpoints on the same clips, on two real ones."""

from __future__ import annotations

import json
import sys

from dictionaries import dictionary_of_clips
from speech import clips
from training_world import small_data

from benchmarks import checkpoints


def test_a_line_for_each_checkpoint_with_the_difference_from_the_first(tmp_path, monkeypatch, capsys):
    names = [clip.path.name for clip in clips("it")[:2]]
    data, out = small_data(tmp_path / "set", test=names), tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["checkpoints", str(data), "embedded:whisper-base", "embedded:whisper-base-it",
                                      "--out", str(out)])
    checkpoints.main()
    base, tuned = json.loads(out.read_text())["rows"]
    assert all(0 <= row["wer"][0] < 0.3 and row["wer"][1:] == [None, None] for row in (base, tuned))
    assert base["difference"] is None
    assert tuned["difference"] == [tuned["wer"][0] - base["wer"][0], None, None]  # of two clips there is no interval
    printed = capsys.readouterr().out
    assert "set, test: 2 clips" in printed and f"| {100 * base['wer'][0]:.1f} |" in printed


def test_a_dictionary_has_a_row_beside_its_beam(tmp_path, monkeypatch, capsys):
    data = small_data(tmp_path / "set", test=[clip.path.name for clip in clips("es")])
    path, out = dictionary_of_clips(tmp_path, "es_XX", "es"), tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["checkpoints", str(data), "embedded:whisper-base", "--dictionary", str(path),
                                      "--out", str(out)])
    checkpoints.main()
    greedy, beam, spelled = json.loads(out.read_text())["rows"]
    assert [row["search"].get("beam_size") for row in (greedy, beam)] == [1, 5]
    assert greedy["wer"][0] > 0.2 and spelled["wer"][0] == 0 and spelled["difference"][0] == -greedy["wer"][0]
    printed = capsys.readouterr().out
    assert printed.count("| embedded:whisper-base, ") == 3 and "| embedded:whisper-base, dictionary | 0.0 |" in printed


def test_rates_are_shown_with_their_interval():
    assert checkpoints.shown(0.123, 0.1, 0.15) == "12.3 (10.0 … 15.0)"
    assert checkpoints.shown(-0.02, -0.05, 0.01, "+") == "-2.0 (-5.0 … +1.0)"
