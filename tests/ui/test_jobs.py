"""Work that belongs to a visitor: turns, limits, who finds it, what is kept and what is deleted."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from speech import clips

from shared.api import Busy
from shared.checkpoint import Checkpoint
from shared.errors import Cancelled, UserError
from shared.serving import Answer
from shared.transcript import Segment, Transcript
from shared.ui.server import jobs, kept, owners, results, visitors, watching
from shared.ui.server.jobs import MAX_WAITING, Asker, Job

ANNA, BO, STRANGER = owners.known("", "anna's page"), owners.known("", "bo's page"), owners.known("", None)


def asker(owner: str | None = ANNA, address: str = "10.0.0.1", page: str | None = "upload") -> Asker:
    return Asker("session", address, owner, page)


def over(*running: Job) -> None:
    for one in running:
        assert one.over.wait(20)


def answer(text: str = "One. Two.") -> Answer:
    transcript = Transcript((Segment(text, 0.0, 1.0, speaker="Speaker 1"), Segment("Three.", 1.0, 2.0)), "en", 2.0)
    return Answer(transcript, Checkpoint.parse("embedded:whisper-base"), None, 1.0)


@pytest.fixture
def result() -> results.Result:
    made = results.make(answer(), results.Recording(clips("en")[0].path), owner=ANNA)
    yield made
    kept.forget(made)


def test_the_secret_is_the_browsers_and_nobody_can_guess_it():
    assert owners.known(ANNA, "another page") == ANNA and owners.owner_of("another page") == ANNA
    assert owners.sessions_of(ANNA) == ["anna's page", "another page"]
    for other in (None, 7, "", "short", ANNA + "x", "<script>" * 6):
        new = owners.known(other, None)
        assert new != other and len(new) == 43
    assert owners.owner_of("a page that told nothing") is None


def test_work_takes_turns_in_order_and_other_lanes_go_on():
    order, gate = [], threading.Event()

    def work(name: str):
        def run(running: Job) -> None:
            order.append(name)
            gate.wait(20)
        return run

    first, second, third = (jobs.submit(asker(address=name), work(name)) for name in ("a", "b", "c"))
    links = jobs.submit(asker(address="d"), work("link"), lane=jobs.LINKS)
    for _ in range(200):
        if len(order) == 2:
            break
        time.sleep(0.02)
    assert sorted(order) == ["a", "link"]
    assert jobs.place_of(third) == "waiting for 2 before you" and jobs.place_of(second) == "waiting for 1 before you"
    jobs._end(second)  # need not wait for its turn
    over(second)
    assert isinstance(second.problem, Cancelled) and "b" not in order
    gate.set()
    over(first, third, links)
    assert order[-1] == "c"


def test_one_visitor_does_not_take_all_places_and_what_was_held_is_released():
    gate, released = threading.Event(), []
    running = [jobs.submit(asker(), lambda running: gate.wait(20), release=lambda: released.append(1))
               for _ in range(MAX_WAITING + 1)]
    with pytest.raises(Busy, match="Too many of your requests"):
        jobs.submit(asker(), lambda running: None)
    other = jobs.submit(asker(BO, "10.0.0.2"), lambda running: None)
    gate.set()
    over(*running, other)
    assert len(released) == len(running)


def test_only_its_owner_sees_and_stops_it():
    gate = threading.Event()

    def work(running: Job) -> None:
        running.read(Transcript((Segment("<b>first", 0.0, 5.0),), "en", 5.0))
        running.says("passage 1 of 2", 0.5)
        gate.set()
        running.cancel.wait(20)

    running = jobs.submit(asker(), work)
    gate.wait(20)
    status = asyncio.run(watching.watch({"owner": ANNA, "page": "upload"}))
    assert status["segments"] == [{"clock": "0:00", "text": "<b>first"}] and status["fraction"] == 0.5
    known = {"job": status["job"], "part": status["part"], "have": 1}
    assert asyncio.run(watching.watch({"owner": ANNA, "page": "upload", **known}))["segments"] == []
    for owner, page in ((STRANGER, "upload"), ("", "upload"), (ANNA, "another page")):
        question = {"owner": owner, "page": page}
        assert asyncio.run(watching.watch(question)) == {"job": None} and watching.stop(question) == 0
    assert watching.stop({"owner": ANNA, "page": "upload"}) == 1
    over(running)


def test_a_page_that_is_closed_leaves_its_work_to_the_visitor_and_ends_a_programs(monkeypatch):
    monkeypatch.setattr(visitors, "LEFT_SECONDS", 1.5)
    ended = {}

    def work(name: str):
        def run(running: Job) -> None:
            begun = time.monotonic()
            running.cancel.wait(20)
            ended[name] = time.monotonic() - begun, running.is_left
        return run

    page = jobs.submit(Asker("closed", "10.0.0.1", ANNA, "upload", "event 1"), work("page"), lane=jobs.LINKS)
    program = jobs.submit(Asker("closed", "10.0.0.2", None, None, "event 2"), work("program"), lane=jobs.LINKS)
    jobs.leave("closed")
    over(program)
    assert not page.over.is_set()
    over(page)
    assert ended["page"][0] > 1.2 and ended["page"][1] and not ended["program"][1]


def test_changes_are_kept_in_every_file_and_can_be_taken_back(result):
    asked = {"owner": ANNA, "result": result.id}
    renamed = watching.change({**asked, "version": 0, "action": "rename", "name": "Speaker 1", "to": "<i>Ada"})
    assert renamed["version"] == 1 and renamed["can_undo"] and "&lt;i&gt;Ada" in renamed["html"]
    assert "<i>Ada" not in renamed["html"]
    assert all(b"Ada" in path.read_bytes() for path in result.files if path.suffix != ".docx")
    late = watching.change({**asked, "version": 0, "action": "text", "index": 0, "text": "too late"})
    assert "another window" in late["problem"] and late["version"] == 1 and "too late" not in late["html"]
    back = watching.change({**asked, "action": "undo"})
    assert "Ada" not in back["html"] and not back["can_undo"] and back["version"] == 2
    assert "Speaker 1: One." in next(path for path in result.files if path.suffix == ".txt").read_text()


def test_results_are_listed_opened_and_forgotten_by_their_owner_only(result):
    archive = results.zip_of([result])
    assert [one["id"] for one in watching.recent({"owner": ANNA})] == [result.id]
    assert watching.recent({"owner": BO}) == watching.recent({}) == []
    assert watching.forget({"owner": BO, "result": result.id}) == [] and result.folder.exists()
    assert "problem" in watching.change({"owner": BO, "result": result.id, "version": 0, "action": "show"})
    with pytest.raises(UserError, match="not here any more"):
        kept.get(result.id, BO, results.Result)
    assert watching.forget({"owner": ANNA, "result": result.id}) == []
    assert not result.folder.exists() and not archive.exists()
    assert watching.forget({"owner": ANNA, "result": result.id}) == [], "it is gone already"


def test_a_visitor_has_so_many_results(monkeypatch):
    monkeypatch.setattr(kept, "MAX_EACH", 2)
    made = [results.make(answer(), results.Recording(clips("en")[0].path), owner=BO) for _ in range(3)]
    assert [one.id for one in kept.recent(BO)] == [made[2].id, made[1].id] and not made[0].folder.exists()
    for one in made[1:]:
        kept.forget(one)
