"""The small Hub of the tests is one that the real client takes for the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import huggingface_hub.errors as errors
import pytest
from hub_server import HubServer, environment
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download

CARD = b"---\nlicense: mit\nlanguage: sv\ntags: [whisper]\n---\n# A model\n"


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's shape: text that goes into git, and weights that go into large file storage."""
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "README.md").write_bytes(CARD)
    (tmp_path / "out" / "config.json").write_text('{"model_type": "whisper"}')
    (tmp_path / "out" / "sub" / "vocab åäö.txt").write_text("hej")
    (tmp_path / "out" / "model.safetensors").write_bytes(os.urandom(300_000))
    return tmp_path / "out"


def files_of(folder: str | Path) -> dict[str, bytes]:
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".gitattributes"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_what_is_uploaded_comes_back_and_a_commit_stays(api, hub, folder):
    assert api.whoami()["name"] == "tester"
    url = api.create_repo("tester/model", private=True)
    assert url.repo_id == "tester/model"
    first = api.upload_folder(repo_id="tester/model", folder_path=folder)
    assert first.oid == api.model_info("tester/model").sha
    before = files_of(folder)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(200_000))
    (folder / "sub" / "vocab åäö.txt").unlink()
    second = api.upload_folder(repo_id="tester/model", folder_path=folder, delete_patterns="sub/*")
    assert files_of(snapshot_download("tester/model")) == files_of(folder)
    assert files_of(snapshot_download("tester/model", revision=first.oid)) == before
    assert [commit.commit_id for commit in api.list_repo_commits("tester/model")][:2] == [second.oid, first.oid]
    info = api.model_info("tester/model", files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings}
    assert info.private and info.tags == ["whisper"] and sizes["model.safetensors"] == 200_000


def test_an_unchanged_folder_makes_no_commit_and_sends_no_weights(api, hub, folder):
    api.create_repo("tester/model")
    first = api.upload_folder(repo_id="tester/model", folder_path=folder)
    assert api.upload_folder(repo_id="tester/model", folder_path=folder).oid == first.oid
    weights = folder / "model.safetensors"
    api.upload_file(path_or_fileobj=weights, path_in_repo="copy.safetensors", repo_id="tester/model")
    assert len([entry for entry in hub.requests if entry.method == "PUT"]) == 1


@pytest.mark.parametrize("part_bytes", [2**20, 100_000])
def test_weights_go_up_whole_or_in_parts(api, hub, folder, monkeypatch, part_bytes):
    monkeypatch.setattr(hub, "part_bytes", part_bytes)
    (folder / "model.safetensors").write_bytes(bytes(250_000))  # its parts have equal contents
    api.create_repo("tester/model")
    commit = api.create_commit("tester/model", [
        CommitOperationAdd("model.safetensors", str(folder / "model.safetensors"))], commit_message="Weights")
    n_sent = len([entry for entry in hub.requests if entry.method == "PUT"])
    assert n_sent == -(-250_000 // part_bytes)
    assert hub.read("model", "tester/model", commit.oid)["model.safetensors"] == bytes(250_000)


def test_only_the_files_asked_for_are_sent_and_no_token_leaves_the_hub(api, hub, folder):
    commit = hub.add("model", "tester/model", folder, private=True)
    snapshot_download("tester/model", revision=commit, allow_patterns=["*.safetensors", "config.json"])
    assert hub.downloads("tester/model") == ["config.json", "model.safetensors"]
    users = {entry.file: entry.user for entry in hub.requests if entry.method == "GET" and entry.file}
    assert users == {"config.json": "tester", "model.safetensors": None}
    hub.requests.clear()
    snapshot_download("tester/model", revision=commit, allow_patterns=["*.safetensors", "config.json"])
    assert hub.downloads() == []  # from the cache


def refusal(function, *args, **kwargs) -> tuple[str, int]:
    with pytest.raises(errors.HfHubHTTPError) as caught:
        function(*args, **kwargs)
    return type(caught.value).__name__, caught.value.response.status_code


def test_refusals_differ(api, hub, monkeypatch):
    hub.add("model", "tester/secret", {"config.json": b"{}"}, private=True)
    hub.add("model", "team/gated", {"config.json": b"{}"}, gated=True)
    hub.add("model", "tester/open", {"config.json": b"{}"})
    assert refusal(hf_hub_download, "tester/wrong", "config.json") == ("RepositoryNotFoundError", 404)
    assert refusal(hf_hub_download, "tester/open", "missing.json") == ("RemoteEntryNotFoundError", 404)
    assert refusal(hf_hub_download, "tester/open", "config.json", revision="0" * 40) == ("RevisionNotFoundError", 404)
    assert refusal(api.model_info, "tester/open", revision="gone") == ("RevisionNotFoundError", 404)
    for token, secret, gated in ((False, ("RepositoryNotFoundError", 401), ("GatedRepoError", 401)),
                                 (hub.outsider_token, ("RepositoryNotFoundError", 404), ("GatedRepoError", 403))):
        assert refusal(hf_hub_download, "tester/secret", "config.json", token=token) == secret
        assert refusal(hf_hub_download, "team/gated", "config.json", token=token) == gated
        assert hf_hub_download("tester/open", "config.json", token=token)
    monkeypatch.delenv("HF_TOKEN")
    assert refusal(api.model_info, "tester/wrong") == ("RepositoryNotFoundError", 401)  # the Hub does not say more
    assert refusal(api.whoami, token="hf_wrong") == ("HfHubHTTPError", 401)
    assert refusal(hf_hub_download, "tester/open", ".gitattributes", token="hf_wrong") == ("HfHubHTTPError", 401)


def test_who_may_write_where(api, hub):
    assert refusal(api.create_repo, "tester/new", token=False)[1] == 401
    assert refusal(api.create_repo, "tester/new", token=hub.read_token)[1] == 403
    assert refusal(api.create_repo, "outsider/new")[1] == 403
    api.create_repo("team/new")
    assert refusal(api.create_repo, "team/new")[1] == 409
    api.create_repo("team/new", exist_ok=True)
    upload = {"path_or_fileobj": b"x", "path_in_repo": "x.txt", "repo_id": "team/new"}
    assert refusal(api.upload_file, **upload, token=hub.outsider_token)[1] == 403
    head = api.upload_file(**upload).oid
    assert refusal(api.delete_file, "not-there.txt", "team/new")[0] == "RemoteEntryNotFoundError"
    api.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id="team/new", parent_commit=head)
    assert refusal(api.upload_file, path_or_fileobj=b"z", path_in_repo="z.txt", repo_id="team/new",
                   parent_commit=head)[1] == 412
    api.delete_repo("team/new")
    assert not api.repo_exists("team/new")


def test_branches_tags_and_listing(api, hub):
    first = hub.add("dataset", "tester/speech", {"data/train-00000.parquet": b"PAR1", "README.md": CARD})
    api.create_tag("tester/speech", tag="v1", repo_type="dataset")
    api.create_branch("tester/speech", branch="try/one", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"two", path_in_repo="two.txt", repo_id="tester/speech", repo_type="dataset",
                    revision="try/one")
    refs = api.list_repo_refs("tester/speech", repo_type="dataset")
    assert {ref.name for ref in refs.branches} == {"main", "try/one"} and refs.tags[0].target_commit == first
    assert api.file_exists("tester/speech", "two.txt", repo_type="dataset", revision="try/one")
    assert not api.file_exists("tester/speech", "two.txt", repo_type="dataset")
    tree = list(api.list_repo_tree("tester/speech", repo_type="dataset", revision="v1"))
    assert [entry.path for entry in tree] == ["data", ".gitattributes", "README.md"]
    assert [info.path for info in api.get_paths_info("tester/speech", ["data", "README.md", "no"],
                                                     repo_type="dataset")] == ["data", "README.md"]
    assert [found.id for found in api.list_datasets(author="tester")] == ["tester/speech"]


def test_a_broken_off_download_goes_on_where_it_was(hub):
    weights = os.urandom(12 * 2**20)  # the client keeps what it has in steps of 10 MiB
    hub.add("model", "tester/model", {"model.safetensors": weights})
    hub.fail(r"/cdn/.*safetensors", drop_after=11 * 2**20)
    assert Path(hf_hub_download("tester/model", "model.safetensors")).read_bytes() == weights
    sent = [(entry.status, entry.range, entry.n_bytes) for entry in hub.requests if "/cdn/" in entry.path]
    assert sent == [(200, "", 11 * 2**20), (206, f"bytes={10 * 2**20}-", 2 * 2**20)]


def test_a_download_that_never_gets_through_leaves_nothing(hub, folder):
    hub.add("model", "tester/model", folder)
    hub.fail(r"/cdn/", status=500, times=100)
    with pytest.raises(errors.HfHubHTTPError):
        hf_hub_download("tester/model", "model.safetensors")
    cache = Path(os.environ["HF_HOME"]) / "hub"
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_a_broken_off_upload_is_sent_again(api, hub, folder):
    api.create_repo("tester/model")
    hub.fail("/lfs/", method="PUT", drop_after=65_536)
    hub.fail("/verify", status=503)
    commit = api.upload_folder(repo_id="tester/model", folder_path=folder)
    assert hub.read("model", "tester/model", commit.oid)["model.safetensors"] == files_of(folder)["model.safetensors"]
    assert [entry.status for entry in hub.requests if entry.method == "PUT"] == [0, 200]


def test_a_refused_commit_changes_nothing(api, hub, folder):
    api.create_repo("tester/model")
    head = api.model_info("tester/model").sha
    hub.fail("/commit/", status=500)
    with pytest.raises(errors.HfHubHTTPError):
        api.upload_folder(repo_id="tester/model", folder_path=folder)
    assert api.model_info("tester/model").sha == head


def test_a_slow_answer_runs_into_the_clients_time_limit(api, hub):
    hub.add("model", "tester/model", {"config.json": b"{}"})
    hub.fail("/api/models/", delay=30)
    with pytest.raises(httpx2.TimeoutException):
        api.model_info("tester/model", timeout=0.2)
    hub.fail("/resolve/", delay=30)
    assert Path(hf_hub_download("tester/model", "config.json", etag_timeout=0.5)).read_bytes() == b"{}"  # asked again


def test_a_space_with_its_settings(api, hub):
    api.create_repo("tester/app", repo_type="space", space_sdk="gradio", space_hardware="zero-a10g", private=True,
                    space_variables=[{"key": "BASE", "value": "openai/whisper-small@abc"}])
    api.add_space_variable("tester/app", "FINE_TUNED", "tester/model")
    api.add_space_secret("tester/app", "HF_TOKEN", "hf_x")
    assert {key: item.value for key, item in api.get_space_variables("tester/app").items()} == {
        "BASE": "openai/whisper-small@abc", "FINE_TUNED": "tester/model"}
    assert api.get_space_runtime("tester/app").requested_hardware == "zero-a10g"
    assert api.request_space_hardware("tester/app", "cpu-basic").requested_hardware == "cpu-basic"
    api.delete_space_variable("tester/app", "BASE")
    assert list(api.get_space_variables("tester/app")) == ["FINE_TUNED"]
    assert api.space_info("tester/app").sdk == "gradio"
    with pytest.raises(ValueError, match="short_description"):
        api.upload_file(path_or_fileobj=f"---\nsdk: gradio\nshort_description: {'x' * 61}\n---\n".encode(),
                        path_in_repo="README.md", repo_id="tester/app", repo_type="space")


def test_another_process_loads_a_data_set_from_it_and_a_stopped_hub_goes_on(tmp_path):
    script = """
import io, sys, pyarrow as pa, pyarrow.parquet as pq
from datasets import load_dataset
from huggingface_hub import HfApi
table, file = pa.table({"id": ["a", "b"], "text": ["hej", "då"]}), io.BytesIO()
pq.write_table(table, file)
api = HfApi()
api.create_repo("tester/speech", repo_type="dataset", private=True)
api.upload_file(path_or_fileobj=file.getvalue(), path_in_repo="data/test-00000-of-00001.parquet",
                repo_id="tester/speech", repo_type="dataset")
print(load_dataset("tester/speech", split="test")["text"][:])
print([row["id"] for row in load_dataset("tester/speech", split="test", streaming=True)])
"""
    with HubServer(tmp_path / "hub") as hub:
        done = subprocess.run([sys.executable, "-c", script], env=environment(hub, tmp_path / "home"),
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["['hej', 'då']", "['a', 'b']"]
    with HubServer(tmp_path / "hub") as again:
        assert "data/test-00000-of-00001.parquet" in again.read("dataset", "tester/speech")
