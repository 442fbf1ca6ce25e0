"""Build the apps as Space repositories and put them on the Hugging Face Hub.

    python spaces/deploy.py build                                     # every app, under bundles/
    python spaces/deploy.py upload suite --fine-tuned you/whisper-sv  # one app, to your account
    python spaces/deploy.py upload browser                            # the page without a server, a static Space

Uploading needs a token with the write role: HF_TOKEN, or `hf auth login`. It checks the token, the names and how many
Spaces the account may host, looks the checkpoints up, fixes their commits, says what it will do and asks; then it makes
the Space if it is not there, sets its hardware and its variables (BASE, FINE_TUNED, ALLOWED_CHECKPOINTS; of the
suite BROWSER_PAGE, where the owner has the page without a server), sends the bundle, deletes files of an older one, and
compares what is there with what was sent.
Anything short of that ends with one line and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also from a checkout that is not installed

from browser_bundle import APP as BROWSER
from browser_bundle import build_browser
from browser_check import TestSet, check_conversion
from bundle import APPS, Weights, build
from checks import Target, targets
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from shared.checkpoint.hub import SMALL_FILES
from shared.checkpoint.hub_writing import explained, owner_of
from shared.errors import UserError
from shared.system.command import reported
from shared.units import megabytes

BASE, FINE_TUNED = "openai/whisper-small", "KBLab/kb-whisper-small"  # as on a Space that names no others
SMALL = ("embedded:whisper-base", "embedded:whisper-base-it")  # of the page whose visitors download both


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code, 0 only if everything asked for was done."""
    options = _options(arguments)
    return reported("deploy.py", lambda: _run(options), stopped="stopped; run it again to finish")


def _run(options: argparse.Namespace) -> None:
    apps = _apps(options)
    defaults = SMALL if BROWSER in apps else (BASE, FINE_TUNED)
    base, fine_tuned = (_weights(given or default) for given, default in
                        zip((options.base, options.fine_tuned), defaults, strict=True))
    wanted: list[Target] = []
    if options.action == "upload":
        with explained("checking the token and the names"):
            owner = owner_of(HfApi(), options.owner)
            is_limited = owner.is_free and not options.more_spaces
            wanted = targets(HfApi(), owner.name, options.prefix, apps, free=is_limited)
    if options.action == "upload" or options.pin:
        with explained("looking the checkpoints up"):
            base, fine_tuned = look_up(base), look_up(fine_tuned)
    folders = {app: build_browser(options.out, base, fine_tuned) if app == BROWSER
               else build(app, options.out, base, fine_tuned, options.dictionary) for app in apps}
    for folder in folders.values():
        print(f"Built {folder}", flush=True)
    if options.test_set:
        test = TestSet(options.test_set, options.language, options.bound)
        check_conversion(folders[BROWSER], {"fine-tuned": fine_tuned, "base": base}, test)
    if not wanted:
        return
    for target in wanted:
        print(_plan(target, folders[target.app], base, fine_tuned, options), flush=True)
    _ask(options.yes)
    addresses = [upload(folders[target.app], target, base, fine_tuned, options) for target in wanted]
    for address in addresses:
        print(f"Uploaded {address}", flush=True)
    if BROWSER in apps and not options.private:
        print(f"Two places link to it once they are made again: the suite's front page (make deploy APPS=suite) and "
              f"the model's card (python -m training.publish RUN {fine_tuned.model_id})", flush=True)


def _apps(options: argparse.Namespace) -> list[str]:
    """The apps asked for, each once. Raises UserError for what does not go together."""
    apps = list(APPS) if "all" in options.apps else list(dict.fromkeys(options.apps))
    if BROWSER in apps and len(apps) > 1:
        raise UserError("The page without a server is deployed by itself", got=" ".join(apps),
                        hint=f"its checkpoints are smaller ones: deploy {BROWSER} alone")
    if options.dictionary and BROWSER in apps:
        raise UserError("The page without a server follows no dictionary", got=options.dictionary,
                        hint="leave --dictionary out")
    if options.test_set and BROWSER not in apps:
        raise UserError("Only the page without a server is compared with its checkpoints", got=" ".join(apps),
                        hint=f"leave --test-set out, or deploy {BROWSER}")
    return apps


def _plan(target: Target, folder: Path, base: Weights, fine_tuned: Weights, options: argparse.Namespace) -> str:
    """What will happen to one Space, for the person who is asked."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    seen = "private" if options.private else "as visible as it is now" if target.exists else "public"
    where = "static" if target.sdk == "static" else f"on {options.hardware}"
    return (f"{'Change' if target.exists else 'Make'} the Space {target.repo_id}: {seen}, {where}, "
            f"{len(files)} files ({megabytes(sum(path.stat().st_size for path in files))}), base {base}, fine-tuned "
            f"{fine_tuned}" + ("; files of an older bundle are deleted" if target.exists else ""))


def _ask(yes: bool) -> None:
    """Go on only if a person says so. Raises UserError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("Nobody is there to be asked", hint="say --yes to do what is written above")
    if input("Do this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("Nothing was uploaded", got="no", hint="run it again to go on")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the apps as Space repositories, and upload them.")
    parser.add_argument("action", choices=("build", "upload"))
    parser.add_argument("apps", nargs="*", choices=(*APPS, BROWSER, "all"), default="all", metavar="app",
                        help=f"{', '.join(APPS)}, all of them (the default), or {BROWSER}")
    parser.add_argument("--out", type=Path, default=Path("bundles"), help="where the bundles are written")
    parser.add_argument("--owner", help="user or organisation of the Spaces; the token's user if not given")
    parser.add_argument("--prefix", default="whisper-", help="the Space of an app is called PREFIX + its name")
    parser.add_argument("--hardware", choices=("zero-a10g", "cpu-basic"), default="zero-a10g")
    parser.add_argument("--base", metavar="ID[@COMMIT]", help=f"{BASE} if not given; of {BROWSER} {SMALL[0]}")
    parser.add_argument("--fine-tuned", metavar="ID[@COMMIT]",
                        help=f"{FINE_TUNED} if not given; of {BROWSER} {SMALL[1]}")
    parser.add_argument("--allow", action="append", default=[], metavar="ID",
                        help="another checkpoint that visitors may load in compare; repeat it for more")
    parser.add_argument("--dictionary", default="", metavar="NAMES",
                        help="of the words that are spelled right, as hunspell names them: sv, or de_AT,ru; the Space "
                        "installs it")
    parser.add_argument("--test-set", metavar="ZIP|OWNER/NAME",
                        help=f"clips on which {BROWSER}'s converted checkpoints are compared with the originals; "
                        "nothing is sent where one is worse by more than --bound")
    parser.add_argument("--language", metavar="CODE", help="of the test set; what FINE_TUNED was tuned for by default")
    parser.add_argument("--bound", type=float, default=2.0, metavar="POINTS", help="of word error rate, 2 if not given")
    parser.add_argument("--private", action="store_true", help="only you and your organisation see the Space")
    parser.add_argument("--more-spaces", action="store_true", help="the account may host more than two")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    parser.add_argument("--pin", action="store_true", help="look the checkpoints up when building, too")
    return parser.parse_args(arguments)


def _weights(text: str) -> Weights:
    model_id, _, commit = text.partition("@")
    if model_id.startswith("embedded:") or model_id.count("/") == 1:
        return Weights(model_id, commit or None)
    raise UserError("This names no checkpoint that a Space can load", got=text or "nothing",
                    hint="give a Hub id: owner/name or owner/name@commit")


def look_up(weights: Weights) -> Weights:
    """The same checkpoint at a full commit id, with those of its files that a Space needs."""
    if not weights.on_hub:
        return weights
    try:
        info = HfApi().model_info(weights.model_id, revision=weights.commit)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        missing = "commit" if isinstance(error, RevisionNotFoundError) else "checkpoint"
        raise UserError(f"There is no such {missing} on the Hub, or your token may not read it", got=weights,
                        hint="check the id; for a private one set HF_TOKEN or run `hf auth login`") from error
    if info.private or info.gated:
        print(f"Note: {weights.model_id} is not public: the Space needs a secret HF_TOKEN that may read it")
        return Weights(weights.model_id, info.sha)  # the building Space has no token, so it cannot fetch it
    present = {file.rfilename for file in info.siblings or ()}
    wanted = (*SMALL_FILES, "model.safetensors")
    return Weights(weights.model_id, info.sha, tuple(name for name in wanted if name in present))


def upload(folder: Path, target: Target, base: Weights, fine_tuned: Weights, options: argparse.Namespace) -> str:
    """Make the Space what `folder` is; gives its address. Raises UserError with what to do about it."""
    api, app, repo_id = HfApi(), target.app, target.repo_id
    with explained(f"uploading {app}", invalid="correct the app's card or name"):
        is_static = target.sdk == "static"
        url = api.create_repo(repo_id, repo_type="space", space_sdk=target.sdk, exist_ok=True,
                              private=options.private or None, space_hardware=None if is_static else options.hardware)
        if options.private and not api.space_info(repo_id).private:
            api.update_repo_settings(repo_id, repo_type="space", private=True)  # before anything is sent
        variables = {"BASE": str(base), "FINE_TUNED": str(fine_tuned), "ALLOWED_CHECKPOINTS": " ".join(options.allow),
                     "DICTIONARY": options.dictionary,
                     "BROWSER_PAGE": static_page(api, target, options.prefix) if app == "suite" else ""}
        if not is_static:
            _configure(api, repo_id, options, {name: value for name, value in variables.items() if value})
        api.upload_folder(repo_id=repo_id, repo_type="space", folder_path=folder, delete_patterns="*",
                          commit_message=f"Bundle of {app}")
        check = api.verify_repo_checksums(repo_id, repo_type="space", local_dir=folder)
    wrong = [item["path"] for item in check.mismatches] + check.extra_paths  # extra: here and not there
    wrong += sorted({*check.missing_paths} - {".gitattributes"})  # missing: there and not here
    if wrong:
        raise UserError("The Space differs from what was sent", got=", ".join(wrong), hint="upload again")
    return str(url)


def static_page(api: HfApi, suite: Target, prefix: str) -> str:
    """The id of the owner's public page without a server; empty where there is none."""
    repo_id = f"{suite.repo_id.partition('/')[0]}/{prefix}{BROWSER}"
    try:
        info = api.space_info(repo_id)
    except RepositoryNotFoundError:
        return ""
    return repo_id if info.sdk == "static" and not info.private else ""


def _configure(api: HfApi, repo_id: str, options: argparse.Namespace, variables: dict[str, str]) -> None:
    """Set what an existing Space may have otherwise: hardware, variables."""
    if api.get_space_runtime(repo_id).requested_hardware != options.hardware:
        api.request_space_hardware(repo_id, options.hardware)
    present = {key: item.value for key, item in api.get_space_variables(repo_id).items()}
    for key, value in variables.items():
        if present.get(key) != value:
            api.add_space_variable(repo_id, key, value)


if __name__ == "__main__":
    sys.exit(main())
