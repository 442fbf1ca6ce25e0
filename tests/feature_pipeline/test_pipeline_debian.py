"""Debian packages as a corpus: small ones built to the published layout, and the real ones where they can be had."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from corpora import deb, piece, wav
from paths import ROOT
from speech import clips

from feature_pipeline.archives import sha256, unpacked
from feature_pipeline.build import build
from feature_pipeline.config import load
from feature_pipeline.sources import debian
from feature_pipeline.sources.debian import Debian
from shared.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WHISPER_SPACES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def little_packages(folder: Path, monkeypatch) -> Path:
    """Packages of the published layout with the clips of tests/data, in the place of the pinned ones."""
    italian = [clip for clip in clips("it") if clip.path.suffix == ".g722"]
    sounds = {f"usr/share/asterisk/sounds/it_IT_m_Carlo/{name}.g722": italian[0].path.read_bytes()
              for name in ("vm-nobodyavail", "digits/1", "beep")}
    listing = ("\ufeff; comment\n\nvm-nobodyavail: " + italian[0].text + "\ndigits/1: uno\nnot-recorded: niente\n"
               "beep: [un suono]\ndigits/1: twice\n")
    lua = ('dialogId("let-m-oko", "font_small", "Look: an eye.")\ndialogStr("Podívej, \\"oko\\".")\n\n'
           'dialogId("let-v-x", "font_big", "Silent one.")\ndialogStr("Ticho.")\n')
    ogg = next(clip for clip in clips("en") if clip.path.suffix == ".ogg").path.read_bytes()
    contents = {
        "asterisk-core-sounds-it-g722": sounds,
        "asterisk-core-sounds-it": {
            "usr/share/doc/asterisk-core-sounds-it/core-sounds-it.txt.gz": gzip.compress(listing.encode())},
        "fillets-ng-data": {"usr/share/games/fillets-ng/script/airplane/dialogs_cs.lua": lua.encode(),
                            "usr/share/games/fillets-ng/music/menu.ogg": ogg},
        "festvox-ru": {
            "usr/share/festival/voices/russian/msu/etc/txt.done.data":
                '( ru_0001 "Она завела, прядь вол+ос." )\n( ru_0002 "Соам, - сказал \\"он\\"." )\n'.encode(),
            "usr/share/festival/voices/russian/msu/wav/ru_0001.wav": wav(piece(1)),
            "usr/share/festival/voices/russian/msu/lab/ru_0001.lab": b"phones"},
        "tuxpaint-stamps-default": {
            "usr/share/tuxpaint/stamps/animals/squirrel.txt":
                b"A squirrel.\nca.utf8=Un esquirol.\nca@valencia.utf8=x\n",
            "usr/share/tuxpaint/stamps/animals/squirrel_desc_ca.ogg": ogg,
            "usr/share/tuxpaint/stamps/animals/squirrel.ogg": ogg,
            "usr/share/tuxpaint/stamps/animals/squirrel.png": b"",
            "usr/share/tuxpaint/stamps/animals/cat.txt": b"A cat.\nca.utf8=Un gat.\n"},
        "fillets-ng-data-cs": {"usr/share/games/fillets-ng/sound/airplane/cs/let-m-oko.ogg": ogg},
    }
    folder.mkdir(exist_ok=True)
    for name, files in contents.items():
        path = deb(folder / f"{name}_1_all.deb", files)
        monkeypatch.setitem(debian.PACKAGES, name, ("1", sha256(path)))
    return folder


def test_debian_prompts_and_dialogues(tmp_path, cache, monkeypatch):
    debs = str(little_packages(tmp_path / "debs", monkeypatch))
    prompts = list(Debian("asterisk", "it", debs).rows())
    assert [row.id for row in prompts] == ["vm-nobodyavail", "digits/1", "beep"]
    assert prompts[2].speaker == "it_IT_m_Carlo" and prompts[1].text == "uno" and prompts[0].audio.path.is_file()
    (dialogue,) = Debian("fillets", "cs", debs).rows()
    assert (dialogue.id, dialogue.text, dialogue.speaker) == ("airplane/let-m-oko", 'Podívej, "oko".', "cs-small")
    assert not list(cache.rglob("menu.ogg"))


def test_debian_sentences_and_stamps(tmp_path, cache, monkeypatch):
    debs = str(little_packages(tmp_path / "debs", monkeypatch))
    one, two = Debian("festvox", "ru", debs).rows()
    assert (one.id, one.text, one.speaker) == ("ru_0001", "Она завела, прядь волос.", "msu")
    assert one.audio.path.is_file() and not two.audio.path.is_file()  # it is counted, with its reason
    (stamp,) = Debian("tuxpaint", "ca", debs).rows()
    assert (stamp.id, stamp.text, stamp.speaker) == ("animals/squirrel", "Un esquirol.", None)
    assert not list(cache.rglob("*.png")) and not list(cache.rglob("*.lab")) and not list(cache.rglob("squirrel.ogg"))


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path, cache, monkeypatch):
    debs = little_packages(tmp_path / "debs", monkeypatch)
    path = debs / "asterisk-core-sounds-it_1_all.deb"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="not the one this project knows"):
        list(Debian("asterisk", "it", str(debs)).rows())
    path.unlink()
    with pytest.raises(UserError, match=r"missing.*apt-get download"):
        list(Debian("asterisk", "it", str(debs)).rows())
    with pytest.raises(UserError, match=r"not packaged in this language.*en, es, it, ru"):
        Debian("asterisk", "sv")


def test_without_apt_get_it_says_what_to_do(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="set `debs` to a folder"):
        list(Debian("asterisk", "it").rows())


def test_unpacking_agrees_with_dpkg(tmp_path, cache):
    if not Path("/usr/bin/dpkg-deb").exists():
        pytest.skip("dpkg-deb is not here to compare with")
    path = deb(tmp_path / "x.deb", {"usr/a b.txt": b"one", "usr/ä/two.bin": os.urandom(3001)})
    subprocess.run(["dpkg-deb", "-x", path, tmp_path / "theirs"], check=True)
    ours = unpacked(path, sha256(path))
    files = {file.relative_to(ours): file.read_bytes() for file in ours.rglob("*") if file.is_file()}
    assert files == {file.relative_to(tmp_path / "theirs"): file.read_bytes()
                     for file in (tmp_path / "theirs").rglob("*") if file.is_file()}
    assert len(files) == 2


def test_a_damaged_or_hostile_archive_leaves_nothing(tmp_path, cache):
    good = deb(tmp_path / "x.deb", {"a": b"1" * 5000})
    cut = tmp_path / "cut.deb"
    cut.write_bytes(good.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        unpacked(cut, sha256(cut))
    evil = tmp_path / "evil.tar.gz"
    with tarfile.open(evil, "w:gz") as tar:
        member = tarfile.TarInfo("../../outside.txt")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"bad"))
    with pytest.raises(UserError, match="damaged"):
        unpacked(evil, sha256(evil))
    assert not list(tmp_path.rglob("outside.txt")) and not list(cache.glob("corpus-*/"))


# -- the real packages ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_rows", "hours"), [("asterisk-it", 595, 0.34), ("fillets-cs", 1771, 1.64),
                                                       ("festvox-ru", 620, 1.66), ("tuxpaint", 917, 0.2),
                                                       ("drascula", 742, 0.77), ("drascula-es", 739, 0.69)])
def test_the_real_packages(name, n_rows, hours, tmp_path):
    """DEBS may name a folder of the .deb files; else apt-get fetches them."""
    overrides = [f"out={tmp_path}"] + ([f"sources.0.debs={os.environ['DEBS']}"] if os.environ.get("DEBS") else [])
    config = load(ROOT / f"feature_pipeline/configs/{name}.yaml", overrides)
    try:
        list(config.sources[0].corpus.rows())
    except UserError as error:
        pytest.skip(f"the packages cannot be had: {error}")
    facts = json.loads((build(config, say=print) / "manifest.json").read_text())
    assert facts["sources"][0]["rows"] == n_rows
    assert sum(split["hours"] for split in facts["splits"].values()) == pytest.approx(hours, abs=0.03)
    assert facts["sizes"]["ratio_to_source"] <= 1.05
    assert facts["sizes"]["spectrograms_per_data_set"] > {"festvox-ru": 3}.get(name, 20)  # that one is 16-bit WAV
