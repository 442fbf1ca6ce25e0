"""python -m training.publish RUN USER/NAME: a finished, evaluated run becomes a checkpoint on the Hub.

Enters: a run's folder. Leaves: its model reloaded and tried, a card, a commit on the Hub; prints USER/NAME@commit,
which is what the Spaces pin, after fetching that commit and comparing it. Rival weights that the repository held
before go in the same commit. The door to huggingface_hub for writing. Started again after a broken push, it sends only
what the Hub does not have yet.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from shared.audio import load_audio
from shared.checkpoint import Checkpoint, files, weight_files
from shared.checkpoint.hub import SMALL_FILES
from shared.checkpoint.hub_writing import explained, owner_of
from shared.errors import UserError
from shared.inference import Transcriber
from shared.system.command import reported
from shared.system.files import digests
from training.card import write_card
from training.config import COMPLETE
from training.data import open_sets
from training.facts import Facts, gather
from training.hub_metadata import EVAL_RESULTS, OURS, eval_results

# What an earlier commit may have left that a loader would take in place of the new weights or beside them: adapters,
# other forms of the weights, parts of another tokenizer. They go in the commit that brings the model.
RIVALS = ("adapter_*", "model*.safetensors", "*.safetensors.index.json", "pytorch_model*", "model.bin", "tf_model*.h5",
          "flax_model*", "rust_model.ot", "ggml-*.bin", "*.gguf", "openvino_*", "onnx/*", *SMALL_FILES,
          f"{EVAL_RESULTS}/{OURS}*")


def publish(run: str | Path, repo_id: str, *, private: bool = False,
            say: Callable[[str], None] = print) -> Checkpoint:
    """Check, write the card, push, and return the checkpoint with its commit. Raises UserError."""
    run = Path(run)
    facts = gather(run)
    model = run / "model"
    _check_evaluated(model, facts)
    with explained(f"asking whether {repo_id} may be written"):
        owner_of(HfApi(), repo_id.partition("/")[0] if "/" in repo_id else None)
    say(f"on reloading it gives: {first_text(model, facts)}")
    page = browser_page(repo_id)
    if page is not None:
        say(f"the card links to {page}, where it runs in the visitor's browser")
    (model / "README.md").write_text(write_card(facts, repo_id, page=page), encoding="utf-8")
    shutil.copyfile(run / "config.yaml", model / "config.yaml")
    shutil.copyfile(run / "evaluation" / "scores.json", model / "scores.json")
    for n, source in enumerate(facts.config.data):
        manifest = Path(source.path, "manifest.json")
        if manifest.is_file():
            shutil.copyfile(manifest, model / f"data-manifest-{n}.json")
    _write_eval_results(model, facts)
    published = Checkpoint(repo_id, _push(model, repo_id, private, facts))
    check_published(published, model)
    return published


def _check_evaluated(model: Path, facts: Facts) -> None:
    """Raises UserError where the card's scores are those of other weights: the run went on after it was evaluated."""
    scored, there = facts.scores.get("weights"), digests(weight_files(model))
    if scored is not None and scored != there:
        raise UserError("The run's scores are of other weights than its model has now", got=model,
                        hint=f"python -m training.evaluation {model.parent}")


def check_published(published: Checkpoint, model: Path) -> None:
    """Fetch the commit as an app does, and compare what would be loaded with the model here. Raises UserError."""
    _, folder = files(published, "transformers")
    names = _sent_names(model)
    listed = _listed(published)
    wrong = sorted((names - listed) | {name for name in listed - names if _is_rival(name)})
    here = [path for path in folder.iterdir() if path.name in names]
    sent = digests(model / path.name for path in here)
    wrong += sorted(name for name, digest in digests(here).items() if digest != sent[name])
    wrong += [path.name for path in weight_files(model) if not (folder / path.name).is_file()]
    if wrong:
        raise UserError("What the Hub gives back is not the model that was sent",
                        got=f"{published}: {', '.join(wrong)}", hint="publish it again, or into a new repository")


def browser_page(repo_id: str) -> str | None:
    """The address of the owner's static Space that runs this checkpoint in a browser, if there is one.

    Raises UserError where the Hub cannot be asked.
    """
    with explained("asking which Spaces use the checkpoint", "check the network, then try again: nothing was sent yet"):
        for space in HfApi().list_spaces(author=repo_id.partition("/")[0], full=True):
            card = space.card_data
            used = space.models or (card.get("models") if card is not None else None) or ()
            if space.sdk == "static" and not space.private and repo_id in used:
                return f"https://huggingface.co/spaces/{space.id}"
    return None


def first_text(model: Path, facts: Facts) -> str:
    """The text that the model, opened from disk as any app does, gives of one test clip. Raises UserError if none."""
    row = open_sets(facts.config, facts.scores["options"]["split"], 1)[0]
    transcript = Transcriber(Checkpoint.parse(str(model))).transcribe(
        load_audio(row["audio"]["bytes"]), language=row["language"], task=facts.config.task)
    if not transcript.text.strip():
        raise UserError("The saved model gives no text", got=f"clip {row['id']}", hint="look at the run's curves")
    return transcript.text


def _push(model: Path, repo_id: str, private: bool, facts: Facts) -> str:
    api = HfApi()
    tuned = facts.scores["systems"]["fine-tuned"]
    with explained(f"sending the model to {repo_id}", "try again: what was sent stays"):
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if private and not api.model_info(repo_id).private:
                raise UserError("The repository is there already, and it is public", got=repo_id,
                                hint="make it private in its settings on the Hub, or leave --private out")
            done = api.upload_folder(repo_id=repo_id, folder_path=model, allow_patterns=sorted(_sent_names(model)),
                                     delete_patterns=list(RIVALS),
                                     commit_message=f"{facts.config.name}: {tuned['wer']:.2f} % WER")
        except HFValidationError as error:
            raise UserError("This is not a name on the Hub", got=repo_id, hint="write it as user/name") from error
        except ValueError as error:  # what its client makes of a card that the Hub does not accept
            raise UserError("The Hub does not accept the card", got=" ".join(str(error).split())[:300],
                            hint="correct it in the run's config.yaml or the data set's manifest.json") from error
    return done.oid


def _listed(published: Checkpoint) -> set[str]:
    with explained(f"comparing {published} with what was sent", "run the same command again: what was sent stays"):
        return set(HfApi().list_repo_files(published.model_id, revision=published.revision))


def _write_eval_results(model: Path, facts: Facts) -> None:
    """`.eval_results/` in the model's folder, as this run has it and no earlier one."""
    shutil.rmtree(model / EVAL_RESULTS, ignore_errors=True)
    for name, text in eval_results(facts).items():
        (model / EVAL_RESULTS).mkdir(exist_ok=True)
        (model / EVAL_RESULTS / name).write_text(text, encoding="utf-8")


def _sent_names(model: Path) -> set[str]:
    """Paths of the files that are pushed, relative to the model's folder: nothing hidden but the results."""
    names = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    return {name for name in names if name != COMPLETE
            and (name.startswith(f"{EVAL_RESULTS}/") or not any(part.startswith(".") for part in name.split("/")))}


def _is_rival(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in RIVALS)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.publish", description="Push a run's model to the Hub.")
    parser.add_argument("run", help="a run's folder, for example runs/italian-lora")
    parser.add_argument("repo_id", help="user/name on the Hub")
    parser.add_argument("--private", action="store_true", help="create the repository for its owner only")
    given = parser.parse_args(arguments)
    return reported("training.publish", lambda: print(publish(
        given.run, given.repo_id, private=given.private, say=lambda text: print(text, file=sys.stderr))))


if __name__ == "__main__":
    sys.exit(main())
