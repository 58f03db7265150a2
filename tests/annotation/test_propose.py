"""Proposals of a small drawn gallery: from its data and from a stand-in for the model that knows colours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.workspace import Workspace
from ssa_me.annotation import AnnotationStore, Scores
from ssa_me.annotation.propose import _scores, from_data, honeypots, prepare
from ssa_me.errors import InputError
from ssa_me.explanation import Explanation, Region
from ssa_me.gallery.items import Item
from ssa_me.gallery.store import Gallery
from ssa_me.samples import Subject
from tests.app.fakes import FakeEmbedder

LEFT, RIGHT = (0.0, 0.0, 40.0, 100.0), (60.0, 0.0, 40.0, 100.0)


def item(*subjects: Subject, id: int = 1) -> Item:
    regions = (Region(LEFT, 0.9), Region(RIGHT, 0.8), Region((0.0, 0.0, 100.0, 100.0), 0.9, single=False))
    return Item(id, "a.png", Path("a.png"), Path("t.jpg"), 100, 100, (), subjects, {}, regions)


def test_scores_by_hand() -> None:
    cosines = {"baseline": np.array([0.1, 0.6, 0.9]), "ssa-me": np.array([0.5, 0.2, 0.9])}
    scores = _scores(
        Subject("a cat", LEFT), item(), cosines
    )  # the 0.9 of what is no single subject counts for nothing
    assert scores.margin == pytest.approx(0.3)
    assert scores.misalignment == pytest.approx(-0.3)
    assert scores.uncertainty == pytest.approx(0.7)
    assert scores.disagreement == 1, "the baseline likes the other region"
    assert _scores(Subject("a cat", RIGHT), item(), cosines).misalignment == pytest.approx(0.3)
    lost = _scores(Subject("a cat", (45.0, 0.0, 10.0, 10.0)), item(), cosines)
    assert (lost.uncertainty, lost.misalignment, lost.margin) == (1.0, pytest.approx(0.5), None)


def test_subjects_without_a_valid_region_are_no_proposals() -> None:
    named = item(Subject("a cat", LEFT), Subject("a dog"), Subject("a bird", (500.0, 0.0, 5.0, 5.0)))
    assert [p.subject for p in from_data([named])] == [Subject("a cat", LEFT)]


def test_honeypots_are_right_or_another_subjects_place() -> None:
    items = [item(Subject("a cat", LEFT), Subject("a dog", RIGHT), id=n) for n in range(100)]
    made = honeypots(items)
    assert len(made) == 8
    for proposal in made:
        assert proposal.truth is not None
        assert proposal.truth.right == (proposal.subject == proposal.truth.subject)
        assert proposal.subject.phrase == proposal.truth.subject.phrase
    assert {p.truth.right for p in made if p.truth} == {True, False}
    assert honeypots([item(Subject("a cat", LEFT))]) == []


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    workspace = Workspace(tmp_path_factory.mktemp("proposals"), demo_images=6, load=FakeEmbedder).start()
    assert workspace._start.wait(60).phase == "done"
    return workspace.gallery("scenes")


def test_a_queue_from_data_and_from_the_model(gallery: Gallery, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    of_data = prepare(gallery, FakeEmbedder())
    of_model = prepare(gallery, FakeEmbedder(), "model", progress=lambda *at: steps.append(at))
    assert steps[-1] == (6, 6)
    assert {p.source for p in of_model.proposals if p.truth is None} == {"model"}
    assert {p.fingerprint for p in of_model.proposals if p.truth is None} == {"1" * 12}
    named = sum(len(i.subjects) for i in gallery.items())
    assert sum(p.truth is None for p in of_data.proposals) == named > 6
    assert any(p.scores.uncertainty > 0 for p in of_data.proposals)
    store = AnnotationStore.open(tmp_path / "a.sqlite")
    for prepared in (of_data, of_data, of_model):
        store.add(prepared.pictures, prepared.proposals)
    assert store.count() == sum(p.truth is None for q in (of_data, of_model) for p in q.proposals)


def test_an_image_in_which_nothing_is_found_can_be_given_a_subject(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = (item.id for item in gallery.items(0, 2))
    (found,) = {p.source for p in prepare(gallery, FakeEmbedder(), "model", image=first).proposals}
    assert found == "model"
    explain = FakeEmbedder.explain

    def blind(self: FakeEmbedder, *args: Any, **options: Any) -> Explanation:
        explained = explain(self, *args, **options)
        return replace(explained, alignment=tuple(replace(a, region=None) for a in explained.alignment))

    monkeypatch.setattr(FakeEmbedder, "explain", blind)
    of_one = prepare(gallery, FakeEmbedder(), "model", image=first)
    assert [(p.image, p.subject, p.source) for p in of_one.proposals] == [(first, Subject(""), "none")]
    assert [picture.id for picture in of_one.pictures] == [first]
    of_all = prepare(gallery, FakeEmbedder(), "model")
    assert [p.source for p in of_all.proposals if p.truth is None] == ["none"] * 6
    assert {p.scores for p in of_all.proposals if p.is_nothing} == {Scores()}
    store = AnnotationStore.open(tmp_path / "a.sqlite")
    store.add(of_all.pictures, of_all.proposals)
    assert store.count() == 6
    of_data = prepare(gallery, FakeEmbedder(), image=second)
    assert {(p.image, p.source, p.truth) for p in of_data.proposals} == {(second, "data", None)}
    with pytest.raises(InputError, match="no image 999"):
        prepare(gallery, FakeEmbedder(), "model", image=999)


def test_nothing_to_propose_is_said(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="still being loaded"):
        prepare(gallery, None, "model")
    with pytest.raises(InputError, match="stopped before the first"):
        prepare(gallery, FakeEmbedder(), "model", cancelled=lambda: True)
    monkeypatch.setattr("ssa_me.annotation.propose.from_data", lambda _: iter(()))
    with pytest.raises(InputError, match="names no subject"):
        prepare(gallery, None)
