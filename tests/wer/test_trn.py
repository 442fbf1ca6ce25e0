"""NIST's sclite counts the errors that we count. It comes from Debian's package sctk, where apt-get can fetch it."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.peers.sclite import counted
from shared import wer

ITALIAN = ["L'ora è: 12.30, città!", "dell'utente non è corretta", "n. 3,5 per cento", "ab-c e così via", "È l’ora",
           "uno due tre quattro cinque sei sette", "Bär über Öl", "(nota) [musica] fine"]
JAPANESE = ["もしもし、田中です。", "今日は 天気がいい ですね", "カメラを12台"]


@pytest.fixture(scope="module")
def sclite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sctk")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("sclite comes as a Debian package, and apt-get is not here")
    fetched = subprocess.run(["apt-get", "download", "sctk"], cwd=folder, capture_output=True, text=True, timeout=120)
    packages = list(folder.glob("*.deb"))
    if not packages:
        pytest.skip(f"Debian's package sctk could not be fetched: {fetched.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", packages[0], folder / "sctk"], check=True, timeout=60)
    return folder / "sctk" / "usr" / "lib" / "sctk" / "bin" / "sclite"


def spoiled(text: str, others: list[str], draw: random.Random) -> str:
    """The text with some words left out, doubled or taken from elsewhere."""
    words = []
    for word in text.split():
        chance = draw.random()
        if chance > 0.15:
            words.append(draw.choice(others) if chance > 0.85 else word)
        if chance > 0.93:
            words.append(draw.choice(others))
    return " ".join(words)


@pytest.mark.parametrize(("texts", "language"), [(ITALIAN, "it"), (JAPANESE, "ja")])
def test_sclite_counts_the_same(sclite, texts, language):
    draw = random.Random(4)
    others = [word for text in texts for word in text.split()]
    pairs = [(text, spoiled(text, others, draw), language) for text in texts for _ in range(25)]
    n_clips, n_words, errors = counted(sclite, pairs)
    ours = wer.pooled(wer.word_errors(*pair) for pair in pairs)
    assert (n_clips, n_words, errors) == (len(pairs), ours.reference_length, ours.errors)
    assert errors > 100
