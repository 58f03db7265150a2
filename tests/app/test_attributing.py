"""Attributions beside the page: found again by what they are of, cancelled, bounded, and said in JSON."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ssa_me.attribution as library
from app.attributing import MOST_RUNNING, Attributions, options
from app.inspect_settings import InspectSettings
from app.permalink import SearchState
from app.reports import build
from app.workspace import Workspace
from ssa_me.attribution import Attribution, Cancelled, Check, Curve, Quality, Verdict, Word
from ssa_me.attribution.result import Balance as Sum
from ssa_me.errors import InputError

STATE = SearchState(text="a red car", gallery="scenes", tab="inspect", hit=1)
ASKED = InspectSettings(attribution="occlusion")


def attribution(**changes: Any) -> Attribution:
    side = Sum(score=0.5, reference=0.25, total=0.25, complete=True)
    made = Attribution(
        method="occlusion",
        target="similarity",
        version="ssa-me",
        text="a red car",
        settings=library.Settings(),
        image_size=(20, 10),
        pixels=np.ones((10, 20), np.float32),
        boxes=np.array([[0, 0, 10, 10], [10, 0, 20, 10]], np.float32),
        values=np.array([0.5, -0.25], np.float32),
        words=(Word("red", 2, 5, 0.125),),
        parts=(),
        image=side,
        words_balance=side,
        held="Held fixed: nothing.",
        text_baseline="…",
        notes=(),
        evaluations=12,
        seconds=0.5,
    )
    return replace(made, **changes)


QUALITY = Quality(
    0.04, 0.1, Curve((0, 1), (0.5, 0.1)), Curve((0, 1), (0.1, 0.5)), None, 0.01, 0.5, 1.0, None,
    Verdict("high", "All checks are good.", (Check("convergence", "good", "It adds up."),)),
)  # fmt: skip


class Calls:
    """Stands for the library: what it was asked, and whether it waits to be let go."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.regions: list[np.ndarray | None] = []
        self.hold = threading.Event()
        self.hold.set()

    def attribute(self, embedder: Any, image: Any, text: str, method: str, **options: Any) -> Attribution:
        self.asked.append({"text": text, "method": method} | options)
        while not self.hold.wait(0.02):
            options["progress"](1, 4)
            if options["cancelled"]():
                raise Cancelled
        return attribution(method=method)

    def assess(self, embedder: Any, image: Any, found: Any, **options: Any) -> Quality:
        self.regions.append(options["region"])
        return QUALITY


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    found = Calls()
    monkeypatch.setattr(library, "attribute", found.attribute)
    monkeypatch.setattr(library, "assess", found.assess)
    yield found
    found.hold.set()


@pytest.fixture
def desk(workspace: Workspace) -> Attributions:
    return Attributions(workspace.inspector, workspace.opponents)


def ended(desk: Attributions, answer: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + 20
    while answer["phase"] == "running" and time.monotonic() < until:
        time.sleep(0.02)
        answer = desk.look(answer["key"])
    return answer


def test_a_map_with_its_words_and_its_verdict(desk: Attributions, calls: Calls) -> None:
    result = ended(desk, desk.begin(STATE, ASKED, "map"))["result"]
    assert result["values"] == [0.5, -0.25] and result["boxes"][1] == [10, 0, 20, 10]
    assert result["words"] == [{"text": "red", "start": 2, "end": 5, "value": 0.125}]
    assert result["quality"]["verdict"]["level"] == "high" and result["signed"]
    (asked,) = calls.asked
    assert (asked["method"], asked["target"], asked["version"]) == ("occlusion", "similarity", "ssa-me")
    made = desk.made(STATE, ASKED)
    assert made is not None and made[1] is QUALITY


def test_the_same_is_computed_once_and_something_else_anew(desk: Attributions, calls: Calls) -> None:
    first = desk.begin(STATE, ASKED, "map")
    ended(desk, first)
    again = desk.begin(STATE, ASKED, "map")
    assert again["phase"] == "done" and again["key"] == first["key"] and len(calls.asked) == 1
    for settings in (
        replace(ASKED, target="baseline"),
        replace(ASKED, seed=1),
        replace(ASKED, baseline="noise"),
    ):
        ended(desk, desk.begin(STATE, settings, "map"))
    assert len(calls.asked) == 4
    assert desk.made(STATE, replace(ASKED, seed=2)) is None


def test_the_difference_is_a_target_of_its_own(desk: Attributions, calls: Calls) -> None:
    ended(desk, desk.begin(STATE, replace(ASKED, target="difference", steps=16, seed=3), "map"))
    (asked,) = calls.asked
    assert (asked["target"], asked["version"]) == ("difference", "ssa-me")
    assert (asked["settings"].steps, asked["settings"].seed) == (16, 3)


def test_drawn_regions_are_what_is_taken_away(desk: Attributions, calls: Calls) -> None:
    drawn = replace(ASKED, attribution="kernel-shap", regions=((1, 2, 30, 40),))
    ended(desk, desk.begin(STATE, drawn, "map"))
    assert calls.asked[0]["settings"].regions == (("region 1", (1, 2, 30, 40)),)
    gradients = replace(drawn, attribution="saliency")
    first = desk.begin(STATE, gradients, "map")
    assert desk.begin(STATE, replace(gradients, regions=None), "map")["key"] == first["key"], "it reads none"
    ended(desk, first)
    assert calls.asked[1]["settings"].regions == ()


def test_the_annotated_subject_is_what_the_pointing_game_asks_for(
    desk: Attributions, calls: Calls, workspace: Workspace
) -> None:
    item = workspace.gallery("scenes").item(1)
    named = replace(STATE, text=item.subjects[0].phrase)
    result = ended(desk, desk.begin(named, ASKED, "map"))["result"]
    assert result["region"] == item.subjects[0].phrase
    mask = calls.regions[0]
    assert mask is not None and mask.shape == (item.height, item.width) and mask.any()
    assert ended(desk, desk.begin(replace(STATE, text="a zebra"), ASKED, "map"))["result"]["region"] == ""


def test_it_is_cancelled_and_can_be_begun_again(desk: Attributions, calls: Calls) -> None:
    calls.hold.clear()
    running = desk.begin(STATE, ASKED, "map")
    assert running["phase"] == "running"
    assert desk.begin(STATE, ASKED, "map")["key"] == running["key"], "a page that comes back finds it"
    desk.stop(running["key"])
    assert ended(desk, running)["phase"] == "cancelled"
    calls.hold.set()
    assert ended(desk, desk.begin(STATE, ASKED, "map"))["phase"] == "done"


def test_few_run_at_once(desk: Attributions, calls: Calls) -> None:
    calls.hold.clear()
    begun = [desk.begin(STATE, replace(ASKED, seed=n), "map") for n in range(MOST_RUNNING)]
    with pytest.raises(InputError, match="Wait for one, or cancel it"):
        desk.begin(STATE, replace(ASKED, seed=9), "map")
    for answer in begun:
        desk.stop(answer["key"])


@pytest.mark.parametrize(
    ("state", "settings", "kind", "said"),
    [
        (replace(STATE, text=" "), ASKED, "map", "no text to attribute"),
        (STATE, replace(ASKED, target="best"), "map", "no score of 'best'"),
        (STATE, replace(ASKED, baseline="zero"), "map", "baseline of zeros is refused"),
        (STATE, replace(ASKED, baseline="pink"), "map", "no baseline 'pink'"),
        (STATE, replace(ASKED, steps=5000), "map", "between 2 and 1024"),
        (STATE, ASKED, "magic", "nothing called 'magic'"),
        (replace(STATE, hit=None), ASKED, "map", "No image is chosen"),
    ],
)
def test_what_makes_no_sense_is_refused(
    state: SearchState, settings: InspectSettings, kind: str, said: str, desk: Attributions
) -> None:
    with pytest.raises(InputError, match=said):
        desk.begin(state, settings, kind)


def test_what_the_library_refuses_is_said(desk: Attributions) -> None:
    answer = ended(desk, desk.begin(STATE, replace(ASKED, attribution="magic"), "map"))
    assert answer["phase"] == "failed" and "no attribution method 'magic'" in answer["message"]
    assert desk.look("0" * 32)["phase"] == "gone"
    assert desk.stop("0" * 32)["phase"] == "gone"


def test_every_method_can_be_chosen_and_every_number_has_a_formula() -> None:
    found = options()
    assert {method["name"] for method in found["methods"]} == set(library.METHODS)
    assert set(QUALITY.to_json()) - {"curves", "verdict", "notes", "words_convergence"} <= set(
        found["formulas"]
    )


def test_the_report_holds_what_was_computed(workspace: Workspace, calls: Calls) -> None:
    desk = workspace.inspector.attributions
    asked = replace(ASKED, target="difference", seed=11)
    assert b"Attribution: Occlusion" not in build(workspace, STATE, asked, "inspection.html")[0]
    ended(desk, desk.begin(STATE, asked, "map"))
    page = build(workspace, STATE, asked, "inspection.html")[0].decode()
    assert "Attribution: Occlusion" in page and "All checks are good." in page
    assert "--method occlusion --of difference --seed 11" in page
    data = json.loads(build(workspace, STATE, asked, "inspection.json")[0])
    assert data["attributions"][0]["quality"]["verdict"]["level"] == "high"
