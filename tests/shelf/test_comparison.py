"""Before and after, by hand where ranks are given, and on a tiny checkpoint against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.evaluation.localisation import RegionScore
from ssa_me.evaluation.retrieval import Retrieval
from ssa_me.samples import Record, Subject, write_metadata
from ssa_me.shelf.comparison import Measured, Queries, before_after, difference, moves


def measured(ranks: list[int], hits: list[float]) -> Measured:
    scores = Retrieval(np.array(ranks), np.array([1 / np.log2(rank + 1) for rank in ranks]))
    regions = [RegionScore(hit, hit, hit, 0.1) for hit in hits]
    return Measured(dict.fromkeys(("baseline", "ssa-me"), scores), dict.fromkeys(("baseline", "ssa-me"), regions), ("a", "b"))  # fmt: skip


def test_the_difference_is_after_less_before_query_by_query() -> None:
    records = [Record(Path(name), name, (f"text {name}",)) for name in "abcd"]
    queries = Queries.of(records)
    before, after = measured([2, 2, 1, 9], [0.0, 1.0]), measured([1, 1, 1, 8], [1.0, 1.0])
    found = difference(before, after, queries, records)["ssa-me"]
    assert found["recall@1"]["value"] == 0.5 and found["recall@5"]["value"] == 0.0
    low, high = found["recall@1"]["interval"]
    assert 0 <= low < 0.5 < high <= 1
    assert found["pointing_game"]["value"] == 0.5
    listed = moves(before, after, queries, records)
    assert [one["text"] for one in listed] == ["text a", "text b", "text d", "text c"]
    assert listed[0] == {"text": "text a", "image": "a", "baseline": [2, 1], "ssa-me": [2, 1]}


def test_a_caption_of_two_images_is_one_query_with_two_answers() -> None:
    records = [Record(Path("a"), "a", ("x", "y", "x")), Record(Path("b"), "b", ("x",)), Record(Path("c"), "c", (), (Subject("z"),))]  # fmt: skip
    assert Queries.of(records) == Queries(("x", "y", "z"), ((0, 1), (0,), (2,)))


def test_a_checkpoint_against_itself_has_no_difference(trained_checkpoint: Path, tmp_path: Path) -> None:
    records = []
    for number, split in enumerate(("train", "val", "val", "val")):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        words = ("red bird", "blue house", "green tree", "a circle")[number]
        records.append(Record(tmp_path / f"{number}.png", f"{number}.png", (words,), (Subject(words, (4, 4, 30, 30)),), split))  # fmt: skip
    write_metadata(tmp_path, records)
    loaded: list[int] = []

    def load() -> SalientEmbedder:
        loaded.append(1)
        return SalientEmbedder.load(trained_checkpoint, "cpu")

    found = before_after(load, load, tmp_path)
    assert (found["images"], found["queries"], found["regions"], found["split"]) == (3, 3, 3, "val")
    assert len(loaded) == 2
    for version in ("baseline", "ssa-me"):
        gaps = found["difference"][version]
        assert {"recall@1", "recall@5", "recall@10", "ndcg@10", "pointing_game"} == set(gaps)
        assert all(gap == {"value": 0.0, "interval": [0.0, 0.0]} for gap in gaps.values())
        assert 0 <= found["before"][version]["pointing_game"] <= 1
        assert all(move[version][0] == move[version][1] for move in found["moves"])
    with pytest.raises(InputError, match="no split 'test'"):
        before_after(load, load, tmp_path, split="test")
