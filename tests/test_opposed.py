"""Two models as one: each side answers as that model's SSA-ME does alone, whatever the other's token grid."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.opposed import Opposed
from ssa_me.rereading import Statement, reread
from ssa_me.samples import Sample

TITLES = ("Then", "Now")
TWO = ("baseline", "ssa-me")


@pytest.fixture(scope="module")
def own(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture(scope="module")
def other(checkpoint_of, tmp_path_factory) -> SalientEmbedder:
    """Another family without adapters, which sees an image in fewer tokens."""
    folder = tmp_path_factory.mktemp("other") / "tiny"
    shutil.copytree(checkpoint_of("qwen3_vl"), folder)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    settings["size"] = {"shortest_edge": 16 * 16, "longest_edge": 32 * 32}
    file.write_text(json.dumps(settings))
    return SalientEmbedder.load(folder, "cpu")


@pytest.fixture
def image(picture) -> Image.Image:
    return picture(96, 64, 3)


def test_it_says_which_models_stand_for_which_version(own, other):
    info = Opposed(other, own, TITLES).info
    assert info.fingerprints == {
        "baseline": other.info.fingerprints["ssa-me"],
        "ssa-me": own.info.fingerprints["ssa-me"],
    }
    assert info.titles == {"baseline": "Then", "ssa-me": "Now"} and info.heads == info.fingerprints
    assert info.trained == {"baseline": False, "ssa-me": True}


def test_each_side_embeds_as_that_model_does_alone(own, other, image):
    both = Opposed(other, own, TITLES)
    samples = [Sample("a red bird"), Sample(image=image), Sample("a tree", image)]
    found = both.embed(samples, subjects=True)
    for version, model in (("baseline", other), ("ssa-me", own)):
        alone = model.embed(samples, versions=("ssa-me",), subjects=True)
        np.testing.assert_allclose(found.vectors[version], alone.vectors["ssa-me"], atol=1e-5)
        for ours, theirs in zip(found.subject_vectors[version], alone.subject_vectors["ssa-me"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        query, region = both.embed_query("bird", image, 0.3), both.embed_region(image, (0, 0, 40, 40))
        np.testing.assert_allclose(query[version], model.embed_query("bird", image, 0.3)["ssa-me"], atol=1e-5)
        np.testing.assert_allclose(
            region[version], model.embed_region(image, (0, 0, 40, 40))["ssa-me"], atol=1e-5
        )
        drawn = both.embed_redrawn(image, [(0, 0, 40, 40)])
        np.testing.assert_allclose(
            drawn.vectors[version],
            model.embed_redrawn(image, [(0, 0, 40, 40)]).vectors["ssa-me"],
            atol=1e-5,
        )
    assert found.regions == own.embed(samples, subjects=True).regions


def test_a_model_against_itself_is_equal_in_every_number(own, image):
    found = Opposed(own, own, TITLES).explain(image, "a red bird", also=("a tree",), heads=True)
    for pair in (found.attention, found.similarity, found.heads, found.table.scores, found.table.inside):
        np.testing.assert_allclose(pair["baseline"], pair["ssa-me"], atol=1e-5)
    for one in found.alignment:
        assert one.scores["baseline"] == pytest.approx(one.scores["ssa-me"], abs=1e-5)
        assert one.attention["baseline"] == pytest.approx(one.attention["ssa-me"], abs=1e-5)


def test_an_explanation_holds_both_models_on_the_tokens_and_regions_of_the_first(own, other, image):
    alone, theirs = own.explain(image, "a red bird"), other.explain(image, "a red bird", ["a red bird"])
    assert len(alone.boxes) != len(theirs.boxes), "the grids must differ for this test to say something"
    found = Opposed(other, own, TITLES).explain(image, "a red bird")
    assert found.attention["baseline"].shape == found.attention["ssa-me"].shape == (len(alone.boxes),)
    assert found.attention_on_image["baseline"] == pytest.approx(
        theirs.attention_on_image["ssa-me"], rel=0.05
    )
    assert found.similarity["baseline"] == pytest.approx(theirs.similarity["ssa-me"], abs=1e-5)
    np.testing.assert_allclose(found.attention["ssa-me"], alone.attention["ssa-me"], atol=1e-6)
    assert found.table.bboxes == alone.table.bboxes
    np.testing.assert_allclose(found.table.scores["ssa-me"], alone.table.scores["ssa-me"], atol=1e-5)
    assert not np.allclose(found.table.scores["baseline"], alone.table.scores["baseline"], atol=1e-2)
    assert [one.score for one in found.alignment] == pytest.approx([one.score for one in alone.alignment])


def test_without_a_text_there_is_nothing_to_align(own, other, image):
    found = Opposed(other, own, TITLES).explain(image, None)
    assert found.table is None and found.alignment == () and found.similarity == {}


@pytest.mark.parametrize("call", ["embed", "embed_query", "embed_region"])
def test_an_unknown_version_is_bad_input(call, own, image):
    both = Opposed(own, own, TITLES)
    calls = {
        "embed": lambda: both.embed([Sample("x")], versions=("full",)),
        "embed_query": lambda: both.embed_query("x", None, versions=("full",)),
        "embed_region": lambda: both.embed_region(image, (0, 0, 9, 9), versions=("full",)),
    }
    with pytest.raises(InputError, match="no version full"):
        calls[call]()


def test_a_model_that_never_read_claims_gets_the_image_alone(image):
    """Beside one that did: each is asked as it learned, where candidates are read again."""

    class Side:
        def __init__(self, reads: bool) -> None:
            self.reads, self.read = reads, []

        def reads_claims(self, version):
            return self.reads and version == "ssa-me"

        def embed(self, samples, **_):
            self.read += [sample.text for sample in samples]
            row = np.ones((len(samples), 2), np.float32)
            return SimpleNamespace(vectors={"ssa-me": row}, regions=(), subject_vectors={"ssa-me": ()})

    sides = {"baseline": Side(False), "ssa-me": Side(True)}
    both = Opposed.__new__(Opposed)
    both.sides = sides
    assert both.reads_claims("ssa-me") and not both.reads_claims("baseline")
    read = reread(
        [image], [Statement("a red bird", "a red bird"), Statement("the bird", "a red bird")], both, TWO
    )
    assert {version: rows.shape for version, rows in read.items()} == {
        "baseline": (1, 1, 2),
        "ssa-me": (1, 2, 2),
    }
    assert sides["baseline"].read == [None]
    assert sides["ssa-me"].read == ["a red bird", "the bird"]
