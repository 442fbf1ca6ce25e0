"""Test sets from the Hub: only the Parquet files that it lists, and nothing that a card or a row names."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_server import HubServer
from huggingface_hub import HfApi
from testset_world import (
    ITALIAN,
    TEXTS,
    hub_rows,
    italian,
    knows,
    parquet,
    references,
    table,
)

from shared.errors import UserError
from shared.testset import evaluate, hub_clips


def test_rows_of_a_hub_data_set(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/clips", {"data/test-00000-of-00001.parquet": parquet(tmp_path, hub_rows())})
    found = evaluate(hub_clips("tester/clips"), {"one": knows(TEXTS)}, language="it")
    assert [clip.id for clip in found.clips] == [row["file"] for row in ITALIAN]
    assert found.scores[0].wer == 0
    assert found.origin == "tester/clips/test"
    assert len(evaluate(hub_clips("tester/clips", max_rows=2), {"one": knows(TEXTS)}).clips) == 2
    named = hub_clips("tester/clips", columns=("audio", "sentence"), max_rows=1)
    assert [clip.reference for clip in named.clips] == [ITALIAN[0]["text"]]


def test_a_hub_data_set_with_several_configs(hub: HubServer, tmp_path):
    part = "- config_name: {0}\n  data_files:\n  - split: test\n    path: {0}/*\n"
    card = f"---\nconfigs:\n{part.format('sv')}{part.format('it')}---\n"
    data = parquet(tmp_path, hub_rows("transcription"))
    hub.add("dataset", "tester/two", {"README.md": card.encode(), "sv/test.parquet": data, "it/test.parquet": data})
    with pytest.raises(UserError, match=r"it, sv"):
        hub_clips("tester/two")
    assert len(list(hub_clips("tester/two", config="it").clips)) == 4
    with pytest.raises(UserError, match=r"Available splits.*test"):
        hub_clips("tester/two", config="it", split="dev")


def test_wrong_hub_data_sets_are_explained(hub: HubServer, tmp_path, monkeypatch):
    hub.add("dataset", "tester/odd", {"test.parquet": parquet(tmp_path, hub_rows("ord"))})
    with pytest.raises(UserError, match="columns audio, ord"):
        hub_clips("tester/odd")
    with pytest.raises(UserError, match="no such data set"):
        hub_clips("tester/none")
    for name in ("csv", "/etc/passwd", "../x", "https://example.org/x", "a/b/c"):
        with pytest.raises(UserError, match="owner/name"):
            hub_clips(name)
    (tmp_path / "local" / "set").mkdir(parents=True)
    (tmp_path / "local" / "set" / "test.csv").write_text("audio,text\nx,secret\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such data set"):
        hub_clips("local/set")  # a folder here is not looked at


def test_a_row_cannot_name_a_file_of_this_machine(hub: HubServer, tmp_path):
    secret = tmp_path / "secret.flac"
    secret.write_bytes(italian()["it_vm-mailboxfull.flac"])
    rows = [{"audio": {"bytes": None, "path": str(secret)}, "text": "x"},
            {"audio": {"bytes": None, "path": f"hf://datasets/tester/other@main/../{secret}"}, "text": "y"}]
    good = {"audio": hub_rows()[0]["audio"], "text": ITALIAN[0]["text"]}
    hub.add("dataset", "tester/sly", {"test.parquet": parquet(tmp_path, [*rows, good])})
    found = evaluate(hub_clips("tester/sly"), {"one": knows(TEXTS)}, language="it")
    assert len(found.clips) == 1
    assert all("holds no audio" in clip.message for clip in found.failed) and len(found.failed) == 2


def test_a_line_that_breaks_and_a_damaged_file_are_different_errors(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/damaged", {"test.parquet": parquet(tmp_path, hub_rows())[:-100]})
    with pytest.raises(UserError, match=r"broke off.*Parquet"):
        hub_clips("tester/damaged")
    hub.add("dataset", "tester/clips", {"test.parquet": parquet(tmp_path, hub_rows())})
    hub.fail("resolve/.*", status=403)
    with pytest.raises(UserError, match="tester/clips"):
        hub_clips("tester/clips")


def test_a_data_set_that_breaks_off_half_way_keeps_what_came_before(hub: HubServer, tmp_path):
    hub.add("dataset", "tester/long", {"test-00000-of-00002.parquet": parquet(tmp_path, hub_rows()),
                                       "test-00001-of-00002.parquet": parquet(tmp_path, hub_rows())[:-100]})
    found = evaluate(hub_clips("tester/long"), {"one": knows(TEXTS)}, language="it")
    assert len(found.clips) == 4
    assert "broke off" in found.failed[0].message


class Listening(BaseHTTPRequestHandler):
    """A host that a data set's card names; it must never be asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("named", [
    "http://{host}/x.parquet", "zip://x.parquet::http://{host}/x.zip", "file://{file}", "{file}",
    "../../../../{file}", "hf://datasets/tester/other/test.parquet"])
def test_the_card_of_a_data_set_cannot_name_an_address_or_another_file(hub: HubServer, tmp_path, named):
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(parquet(tmp_path, hub_rows()))
    hub.add("dataset", "tester/other", {"test.parquet": secret.read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = named.format(host=f"127.0.0.1:{server.server_port}", file=secret)
        part = {"config_name": "default", "data_files": [{"split": "test", "path": place}]}
        card = yaml.safe_dump({"configs": [part]})
        name = f"tester/card{len(hub.requests)}"
        hub.add("dataset", name, {"README.md": f"---\n{card}---\n".encode()})
        with pytest.raises(UserError, match="publish it as Parquet") as refusal:
            hub_clips(name)
        server.shutdown()
    assert Listening.asked == [] and "127.0.0.1" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)


def test_a_visitor_does_not_read_what_the_owners_token_may(hub: HubServer, tmp_path, monkeypatch):
    hub.add("dataset", "tester/private", {"test.parquet": parquet(tmp_path, hub_rows())}, private=True)
    assert len(list(hub_clips("tester/private").clips)) == 4  # the tests' own token may
    with pytest.raises(UserError, match="may not be read"):
        hub_clips("tester/private", token=False)
    hub.add("dataset", "tester/open", {"test.parquet": parquet(tmp_path, hub_rows())})
    assert len(list(hub_clips("tester/open", token=False).clips)) == 4


@pytest.mark.parametrize(("column", "compression"), [("audio", "zstd"), ("text", "zstd"), ("audio", "gzip")])
def test_parquet_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(hub, tmp_path, column, compression):
    huge = bytes(40_000_000) if column == "audio" else "a" * 40_000_000
    rows = [{"audio": {"bytes": huge if column == "audio" else b"x", "path": "a.wav"},
             "text": huge if column == "text" else "x"}] * 10
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bomb.parquet", compression=compression,
                   use_dictionary=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 2_000_000
    name = f"tester/bomb-{column}-{compression}"
    hub.add("dataset", name, {"test.parquet": (tmp_path / "bomb.parquet").read_bytes()})
    with pytest.raises(UserError, match="unpacks to far more"):
        hub_clips(name)


def test_files_of_a_split_are_found_by_their_names(hub: HubServer, tmp_path):
    data = parquet(tmp_path, hub_rows())
    for number, (files, config, split) in enumerate([
        (["data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet", "data/train-00000-of-00001.parquet"],
         None, "test"),
        (["sv/test-00000-of-00001.parquet", "it/test-00000-of-00002.parquet", "it/test-00001-of-00002.parquet"], "it",
         "test"),
        (["test/a.parquet", "test/b.parquet", "dev/c.parquet"], None, "test"),
        (["it/clean/0000.parquet", "it/clean/0001.parquet", "it/other/0000.parquet", "it/test/0000.parquet"], "it",
         "clean"),
        (["my-dev-set.parquet", "dev_2.parquet", "my-test.parquet"], None, "validation"),
        (["rows.parquet", "more.parquet"], None, "train"),
    ]):
        name = f"tester/names{number}"
        hub.add("dataset", name, dict.fromkeys(files, data))
        assert len(list(hub_clips(name, config=config, split=split).clips)) == 8, files


def test_loose_files_are_not_read_and_the_answer_says_what_would_be(hub: HubServer):
    loose = {"test/metadata.csv": table(references(), "file_name,text").encode(), **italian("test/")}
    hub.add("dataset", "tester/loose", loose)
    with pytest.raises(UserError, match="publish it as Parquet"):
        hub_clips("tester/loose")


def test_behind_a_script_the_parquet_copy_of_the_hub_is_read(hub: HubServer, tmp_path):
    name, branch = "tester/scripted", "refs/convert/parquet"
    hub.add("dataset", name, {"scripted.py": b"raise SystemExit"})
    with pytest.raises(UserError, match="publish it as Parquet"):
        hub_clips(name, config="it")
    api = HfApi()
    api.create_branch(name, repo_type="dataset", branch=branch)
    api.delete_file("scripted.py", repo_id=name, repo_type="dataset", revision=branch)
    for config in ("sv", "it"):
        rows = parquet(tmp_path, hub_rows(config))  # the text column tells which config was read
        api.upload_file(path_or_fileobj=rows, path_in_repo=f"{config}/test/0000.parquet", repo_id=name,
                        repo_type="dataset", revision=branch)
    found = evaluate(hub_clips(name, config="it", columns=(None, "it")), {"one": knows(TEXTS)}, language="it")
    assert (len(found.clips), found.scores[0].wer) == (4, 0)


WRITE_BOMB = """
import sys, pyarrow as pa, pyarrow.parquet as pq
rows = pa.Table.from_pylist([{"audio": {"bytes": bytes(140_000_000), "path": "a.wav"}, "text": "x"}])
pq.write_table(rows, sys.argv[1], compression="zstd", use_dictionary=False, write_statistics=False)
"""


def thrift(number: int, length: int) -> bytes:
    """A size as Thrift's compact protocol writes it, on so many bytes."""
    digits = [(2 * number >> 7 * i) & 0x7F | (0x80 if i < length - 1 else 0) for i in range(length)]
    assert 2 * number >> 7 * length == 0
    return bytes(digits)


@pytest.mark.parametrize("claimed", [2**31 - 1, 1000])
def test_parquet_whose_pages_lie_about_their_size_costs_its_own_process_only(hub: HubServer, tmp_path, claimed):
    path = tmp_path / "bomb.parquet"
    subprocess.run([sys.executable, "-c", WRITE_BOMB, str(path)], check=True)
    data = path.read_bytes()
    total = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size  # with the page's header
    page = next(size for size in range(total, total - 100, -1) if thrift(size, 5) in data[:200])
    assert len(data) < 100_000
    hub.add("dataset", f"tester/lies{claimed}",
            {"test.parquet": data.replace(thrift(page, 5), thrift(claimed, 5), 1)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="unpacks to far more" if claimed > page else "broke off"):
        list(hub_clips(f"tester/lies{claimed}").clips)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
