"""The kinds of corpus that can be read; each is one file here, all give the same rows (`feature_pipeline.rows`)."""

from __future__ import annotations

from feature_pipeline.sources.debian import Debian

CORPORA: dict[str, type] = {
    "debian": Debian,
}
