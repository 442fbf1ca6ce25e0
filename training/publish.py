"""python -m training.publish RUN USER/NAME: a finished, evaluated run becomes a checkpoint on the Hub.

Enters: a run's folder. Leaves: its model reloaded and heard, a card, a commit on the Hub; prints USER/NAME@commit,
which is what the Spaces pin. The door to huggingface_hub for writing. Started again after a broken push, it sends
only what the Hub does not have yet.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from shared.audio import load_audio
from shared.checkpoint import Checkpoint
from shared.command import reported
from shared.errors import UserError
from shared.inference import Transcriber
from training.card import Facts, gather, write_card
from training.data import open_split
from training.finetune import COMPLETE


def publish(run: str | Path, repo_id: str, *, private: bool = False, say=print) -> Checkpoint:
    """Check, write the card, push, and return the checkpoint with its commit. Raises UserError."""
    run = Path(run)
    facts = gather(run)
    model = run / "model"
    say(f"heard on reloading: {hear(model, facts)}")
    (model / "README.md").write_text(write_card(facts, repo_id), encoding="utf-8")
    shutil.copyfile(run / "config.yaml", model / "config.yaml")
    shutil.copyfile(run / "evaluation" / "scores.json", model / "scores.json")
    for n, source in enumerate(facts.config.data):
        manifest = Path(source.path, "manifest.json")
        if manifest.is_file():
            shutil.copyfile(manifest, model / f"data-manifest-{n}.json")
    return Checkpoint(repo_id, _push(model, repo_id, private, facts))


def hear(model: Path, facts: Facts) -> str:
    """What the model, opened from disk as any app does, makes of one test clip. Raises UserError if it is nothing."""
    row = open_split(facts.config.data[0], facts.scores["options"]["split"])[0]
    transcript = Transcriber(Checkpoint.parse(str(model))).transcribe(
        load_audio(row["audio"]["bytes"]), language=row["language"])
    if not transcript.text.strip():
        raise UserError("The saved model hears nothing", got=f"clip {row['id']}", hint="look at the run's curves")
    return transcript.text


def _push(model: Path, repo_id: str, private: bool, facts: Facts) -> str:
    api = HfApi()
    tuned = facts.scores["systems"]["fine-tuned"]
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo_id, folder_path=model, ignore_patterns=[COMPLETE, ".*"],
                                 commit_message=f"{facts.config.name}: {tuned['wer']:.2f} % WER")
        return done.oid
    except HFValidationError as error:
        raise UserError("This is not a name on the Hub", got=repo_id, hint="write it as user/name") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise UserError("The Hub does not let this account write there", got=repo_id,
                            hint="log in with `hf auth login` and a token that may write") from error
        raise UserError("The Hub refused the push", got=f"{status}: {str(error)[:120]}",
                        hint="try again: what was sent stays") from error
    except (httpx2.HTTPError, OSError) as error:
        raise UserError("The push broke off", got=str(error)[:120], hint="try again: what was sent stays") from error


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
