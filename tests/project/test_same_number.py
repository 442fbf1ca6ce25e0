"""One number: what an evaluation counts, its card states, the compare page shows and an export prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import handle_file
from huggingface_hub import ModelCard
from page_client import PageClient
from testset_world import ITALIAN, italian, packed, references, table
from training_world import shipped_run

from shared.serving import Limits, Serving
from shared.ui.pages import compare
from shared.ui.server.launch import Page, build, start
from training import evaluation, export
from training.card import write_card
from training.facts import gather

pytestmark = pytest.mark.slow
NAMES = [row["file"] for row in ITALIAN][:2]  # one of them is not transcribed without errors


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with the model of the shipped adapter, tested on the Italian clips of tests/data."""
    return shipped_run(tmp_path_factory.mktemp("runs"), train=NAMES, validation=NAMES, test=NAMES)


@pytest.fixture(scope="module")
def scores(run: Path) -> dict:
    return evaluation.evaluate(run, evaluation.Options(full_context=False), say=lambda text: None)["systems"]


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[PageClient]:
    serving = Serving("embedded:whisper-base", str(run / "model"), limits=Limits(max_seconds=600.0))
    demo = build("Compare", [Page("Compare", "compare", compare.page)], serving)
    yield PageClient(start(demo, max_bytes=50_000_000, block=False), verbose=False)
    demo.close()


def test_the_compare_page_shows_what_was_evaluated(run: Path, scores: dict, page: PageClient, tmp_path: Path) -> None:
    archive = packed(tmp_path, {**{name: italian()[name] for name in NAMES}, "clips.csv": table(
        [row for row in references() if row[0] in NAMES])})
    summary, *_ = page.predict("zip", handle_file(str(archive)), None, "", "", "test", 10, "", "", "it", "auto", 1, 0.5,
                               "", "", "", "", api_name="/compare_clips")
    assert summary["n_clips"] == scores["fine-tuned"]["clips"] == len(NAMES)
    words, evaluated = summary["sides"][1]["words"], scores["fine-tuned"]
    assert evaluated["substitutions"] + evaluated["deletions"] + evaluated["insertions"] > 0  # nought would be easy
    assert 100 * words["rate"] == evaluated["wer"] and words["reference_length"] == evaluated["words"]
    assert 100 * summary["sides"][1]["characters"]["rate"] == evaluated["cer"]


def test_the_card_states_what_was_evaluated(run: Path, scores: dict) -> None:
    card = ModelCard(write_card(gather(run), "tester/same"), ignore_metadata_errors=False)
    stated = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert stated == {kind: round(scores["fine-tuned"][kind], 2) for kind in ("wer", "cer")}


@pytest.mark.parametrize(("checkpoint", "system"), [("fine-tuned", "fine-tuned"), ("base", "base")])
def test_an_export_prints_what_was_evaluated(run: Path, scores: dict, checkpoint: str, system: str) -> None:
    said: list[str] = []
    found = export.export(run, export.Options(forms=(), checkpoint=checkpoint), say=said.append)
    assert found["served"] == scores[system]["wer"]
    assert f"{scores[system]['wer']:.2f} % WER" in said[0] and said[0].startswith("as served")
