"""The kinds of corpus that can be read; each is one file here, all give the same rows (`feature_pipeline.rows`)."""

from __future__ import annotations

from feature_pipeline.sources.common_voice import CommonVoice
from feature_pipeline.sources.debian import Debian
from feature_pipeline.sources.folder import Folder
from feature_pipeline.sources.hub import Hub
from feature_pipeline.sources.kaldi import Kaldi
from feature_pipeline.sources.nsc import Nsc

CORPORA: dict[str, type] = {
    "common_voice": CommonVoice,
    "hub": Hub,
    "folder": Folder,
    "kaldi": Kaldi,
    "nsc": Nsc,
    "debian": Debian,
}
