"""Runs in a workspace: started, stopped, gone on with, kept, looked at, voted on, downloaded; and a public page."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import failures_votes, studio
from app.failures import LIST, Asked, FailureRuns
from app.failures_routes import failure_routes
from app.failures_state import FailuresState, Lasso
from app.jobs import Job
from app.workspace import Workspace
from ssa_me.errors import InputError
from tests.app.fakes import FakeEmbedder

CAPTIONS = Asked("captions", "scenes")
VOTER = "ada0ada0"
PATIENCE = 240
"""Seconds: on a busy machine the first import alone takes long."""


def done(job: Job) -> dict[str, Any]:
    state = job.wait(PATIENCE)
    assert state.phase == "done", state.message
    return state.result


@pytest.fixture(scope="module")
def runs(workspace: Workspace) -> FailureRuns:
    return workspace.failures


@pytest.fixture(scope="module")
def run(runs: FailureRuns) -> str:
    return str(done(runs.start(CAPTIONS))["run"])


@pytest.fixture
def own(workspace: Workspace, tmp_path: Path) -> FailureRuns:
    """Runs of a folder of their own on the shared gallery."""
    (tmp_path / "galleries").mkdir()
    return FailureRuns(tmp_path, workspace.gallery, workspace.opponents)


def test_the_same_queries_find_the_run_that_is_there(runs: FailureRuns, run: str) -> None:
    assert done(runs.start(CAPTIONS))["run"] == run
    assert done(runs.start(replace(CAPTIONS, ranking="subjects")))["run"] != run
    kept = {one["id"]: one for one in runs.kept()}
    assert kept[run] == {
        "id": run,
        "title": "Captions",
        "gallery": "scenes",
        "ranking": "vector",
        "against": "",
        "done": True,
    }


def test_a_page_of_the_table(runs: FailureRuns, run: str, workspace: Workspace) -> None:
    opened = runs.open(run)
    page = opened.page(FailuresState(run))
    assert page["total"] == page["run"]["queries"] == len(opened.run.table) > 25
    assert [row["gain"] for row in page["rows"]] == sorted(
        (row["gain"] for row in page["rows"]), reverse=True
    )
    assert len(page["rows"]) == 25 and page["rows"][0]["target"]["thumb"].startswith("studio/thumb/scenes/")
    assert str(workspace.folder) not in str(page)
    assert (
        sum(page["counts"][name] for name in ("fixed", "broken", "both-wrong", "both-right")) == page["total"]
    )
    assert [spread["column"] for spread in page["histograms"]] == ["gain", "alignment", "length", "size"]
    last = opened.page(FailuresState(run, offset=10**6))
    assert last["offset"] == (page["total"] - 1) // 25 * 25 and last["rows"]


def test_a_person_in_red_can_be_asked(runs: FailureRuns, run: str) -> None:
    page = runs.open(run).page(FailuresState(run, text="person in "))
    assert page["total"] > 0 and all("person in " in row["query"] for row in page["rows"])


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (FailuresState(outcome="lost"), "no outcome 'lost'"),
        (FailuresState(k=3), "cut-off is 3"),
        (FailuresState(sort="nothing"), "no column 'nothing'"),
        (FailuresState(ranges={"who": (0, 1)}), "no column 'who'"),
        (FailuresState(lasso=Lasso("ssa-me", "tsne", ((0, 0), (1, 0), (1, 1)))), "no projection 'tsne'"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(
    runs: FailureRuns, run: str, state: FailuresState, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        runs.open(run).page(state)


def test_the_map_and_its_lasso(runs: FailureRuns, run: str) -> None:
    opened = runs.open(run)
    cloud = opened.cloud(FailuresState(run), "pca", "gain")
    assert len(cloud["ids"]) == 24 and {len(points) for points in cloud["points"].values()} == {24}
    assert cloud["selected"] == [1] * 24 and cloud["colours"]["kind"] == "number"
    everything = Lasso("baseline", "pca", ((-2, -2), (2, -2), (2, 2), (-2, 2)))
    assert opened.page(FailuresState(run, lasso=everything))["total"] == len(opened.run.table)
    nothing = replace(everything, corners=((5, 5), (6, 5), (6, 6)))
    assert opened.page(FailuresState(run, lasso=nothing))["total"] == 0
    kinds = opened.cloud(FailuresState(run), "pca", "kind")["colours"]
    assert kinds["kind"] == "category" and "subject" in kinds["names"]
    with pytest.raises(InputError, match="cannot be coloured by"):
        opened.cloud(FailuresState(run), "pca", "phrase")


def test_an_uploaded_list(own: FailureRuns, workspace: Workspace) -> None:
    asked = Asked("list", "scenes", name="mine.csv")
    text = workspace.gallery("scenes").items(0, 1)[0].captions[0]
    data = f'query,mood\n"{text}",glad\nno such thing at all,sad\n'.encode()
    result = done(own.start(asked, data))
    opened = own.open(result["run"])
    assert opened.run.table.queries == (text,) and opened.run.table.extra["mood"] == ("glad",)
    assert opened.run.skipped[0][0] == "no such thing at all"
    assert own.kept()[0]["title"] == "mine.csv" and not list(own._folder.glob(f"*/{LIST}"))


def test_a_run_that_is_stopped_goes_on(
    own: FailureRuns, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr("ssa_me.failures.mining.BATCH", 8)
    real = FakeEmbedder.embed

    def slow(self: FakeEmbedder, *given: Any, **options: Any) -> Any:
        time.sleep(0.02)
        return real(self, *given, **options)

    monkeypatch.setattr(FakeEmbedder, "embed", slow)
    job = own.start(CAPTIONS)
    while not own.kept() and job.running:
        time.sleep(0.01)
    with pytest.raises(InputError, match="running already"):
        own.start(CAPTIONS)
    job.cancel()
    assert job.wait(30).phase == "cancelled"
    (stopped,) = own.kept()
    assert not stopped["done"]
    with pytest.raises(InputError, match="no finished run"):
        own.open(stopped["id"])
    monkeypatch.setattr(FakeEmbedder, "embed", real)
    assert done(own.resume(stopped["id"]))["run"] == stopped["id"]
    assert own.kept()[0]["done"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked("lists", "scenes"), "no queries of the kind"),
        (Asked("list", "scenes"), "no list of queries"),
        (Asked("captions", "nowhere"), "no gallery 'nowhere'"),
    ],
)
def test_what_cannot_be_run_is_refused(own: FailureRuns, asked: Asked, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        own.start(asked)


def test_a_list_that_is_none_fails_with_the_reason(own: FailureRuns) -> None:
    state = own.start(Asked("list", "scenes", name="../../evil.sh"), b"x").wait(30)
    assert state.phase == "failed" and "no list of queries" in state.message
    assert own.kept() == []


def test_only_the_newest_runs_are_kept(
    own: FailureRuns, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.failures.MOST_RUNS", 1)
    texts = [item.captions[0].encode() for item in workspace.gallery("scenes").items(0, 2)]
    first = done(own.start(Asked("list", "scenes", name="a.txt"), texts[0]))["run"]
    second = done(own.start(Asked("list", "scenes", name="b.txt"), texts[1]))["run"]
    assert [one["id"] for one in own.kept()] == [second] != [first]
    with pytest.raises(InputError, match="no longer here"):
        own.resume(first)


def test_a_ballot_is_blind_until_both_votes_are_cast(
    runs: FailureRuns, run: str, workspace: Workspace
) -> None:
    def explain(gallery: str, text: str, item: int, against: str | None) -> dict[str, Any]:
        from app.permalink import SearchState

        return workspace.explain(SearchState(text=text, gallery=gallery, against=against), item)

    before = failures_votes.ballot(runs, run, 3, VOTER)
    assert set(before) == {"run", "row", "query", "kind", "lists", "said"}
    assert len(before["lists"]["a"]) == len(before["lists"]["b"]) == 6
    with pytest.raises(InputError, match="before you look"):
        failures_votes.maps(runs, explain, run, 3, VOTER)
    assert failures_votes.vote(runs, run, 3, VOTER, "before", "a") == {"said": {"before": "a"}}
    maps = failures_votes.maps(runs, explain, run, 3, VOTER)["maps"]
    assert {len(one["attention"]) for one in maps.values()} == {49}
    assert not {"baseline", "ssa-me"} & {str(word) for word in maps["a"]}
    after = failures_votes.vote(runs, run, 3, VOTER, "after", "tie")
    assert sorted(after["sides"].values()) == ["baseline", "ssa-me"] and after["tally"]["after"]["tie"] >= 1
    assert failures_votes.ballot(runs, run, 3, VOTER)["sides"] == after["sides"]


@pytest.mark.parametrize("given", [(10**6, VOTER), ("3", VOTER), (3, "Ada"), (3, None), (True, VOTER)])
def test_a_forged_ballot_is_refused(runs: FailureRuns, run: str, given: tuple[Any, Any]) -> None:
    with pytest.raises(InputError):
        failures_votes.ballot(runs, run, *given)
    with pytest.raises(InputError):
        failures_votes.vote(runs, run, 3, VOTER, "before", "c")


def test_downloads(runs: FailureRuns, run: str) -> None:
    client = TestClient(Starlette(routes=failure_routes(runs)))
    answer = client.get(f"/studio/failures/{run}/rows.csv?fq=person&fs=query")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
    assert rows and all("person" in row["query"] for row in rows)
    assert [row["query"] for row in rows] == sorted(row["query"] for row in rows)
    data = client.get(f"/studio/failures/{run}/rows.json?fo=both-wrong&fk=1").json()
    assert (
        all(row["rank_baseline"] > 1 < row["rank_ssa_me"] for row in data["rows"])
        and data["measures"]["queries"]
    )
    report = client.get(f"/studio/failures/{run}/rows.html?fq=person").text
    assert "data:image/png;base64," in report and "<script" not in report
    failures_votes.vote(runs, run, 5, VOTER, "before", "both bad")
    assert client.get(f"/studio/failures/{run}/votes.json").json()["tally"]["before"]["both bad"] >= 1
    assert client.get(f"/studio/failures/{run}/votes.csv").text.startswith("run,row,query,voter,phase,choice")
    for path in (
        f"{'0' * 16}/rows.csv",
        "../votes.csv",
        f"{run}/rows.exe",
        f"{run}/votes.html",
        f"{run}/rows.csv?fk=x",
    ):
        assert client.get(f"/studio/failures/{path}").status_code == 404


@pytest.mark.parametrize("public", [True, False])
def test_on_a_public_page_a_forged_event_runs_nothing_of_a_visitor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(workspace.failures, "start", lambda *given: begun.append(given))
    monkeypatch.setattr(workspace.failures, "resume", lambda *given: begun.append(given))
    page = studio.build(workspace, public=public)
    events = {f.fn.__name__: f.fn for f in page.fns.values() if f.fn is not None}

    class Event:
        def __init__(self, **data: Any) -> None:
            self._data = data

    events["start_run"]({"current": "scenes"}, Event(kind="binding", n=5))
    events["start_run"]({"current": "other"}, Event(kind="captions"))
    events["resume_run"]({"current": "scenes"}, Event(run="0" * 16))
    assert len(begun) == (0 if public else 3)
    events["start_run"]({"current": "scenes"}, Event(kind="captions"))
    assert len(begun) == (1 if public else 4)


def test_nobody_votes_on_a_public_page(workspace: Workspace, run: str) -> None:
    from app.tabs.failures import _voting

    asked = {"run": run, "row": 1, "voter": VOTER, "phase": "before", "choice": "a"}
    assert all("public page" in answer(asked)["error"] for answer in _voting(workspace, True))
    assert "error" not in _voting(workspace, False)[1](asked)


def test_server_functions_answer_anything_with_a_sentence(workspace: Workspace, run: str) -> None:
    from app.tabs.failures import _cloud, _page

    for sent in (None, [], {}, {"fr": "x"}, {"fr": run, "fk": "x"}, {"fr": ["a"]}):
        assert "error" in _page(workspace)(sent)  # type: ignore[arg-type]
        assert "error" in _cloud(workspace)(sent)  # type: ignore[arg-type]
    assert _page(workspace)({"fr": run})["total"] > 0
