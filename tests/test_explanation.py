"""Alignment by hand, and explanations of tiny models: shapes, sums, stages, and the JSON of the `explain` command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.backbone import Backbone
from ssa_me.checkpoint import VERSIONS, load_parts
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.explanation import Alignment, Candidate, Explanation, Region, align, attention_of
from ssa_me.salience.regions import TokenRegion
from ssa_me.samples import Sample

# --- alignment by hand -----------------------------------------------------------------------------------------------

SPOKEN = {"baseline": np.array([1.0, 0.0]), "ssa-me": np.array([0.6, 0.8])}
ATTENTION = {"baseline": np.array([0.1, 0.2, 0.1, 0.0]), "ssa-me": np.array([0.0, 0.3, 0.0, 0.1])}
SALIENCE = np.array([0.1, 0.9, 0.2, 0.0])


def candidate(bbox, baseline, ssa_me, weights=(0, 0.9, 0, 0)) -> Candidate:
    region = TokenRegion(np.array(weights, dtype=np.float32), bbox, 0.9)
    return Candidate(region, {"baseline": np.array(baseline), "ssa-me": np.array(ssa_me)})


OWN = candidate((0, 0, 10, 10), (0.8, 0.6), (1.0, 0.0))
BETTER = candidate((50, 0, 10, 10), (0.0, 1.0), (0.6, 0.8))
WORSE = candidate((0, 50, 10, 10), (0.6, 0.8), (0.8, -0.6))


def aligned(own, others, leading="ssa-me", attention=ATTENTION) -> Alignment:
    return align("a bird", SPOKEN, own, others, attention, SALIENCE, leading)


def test_a_region_that_wins():
    found = aligned(OWN, [OWN, WORSE])
    assert found.phrase == "a bird" and found.region == (0, 0, 10, 10)
    assert found.score == pytest.approx(0.6) and found.scores == pytest.approx(
        {"baseline": 0.8, "ssa-me": 0.6}
    )
    assert found.rival == (0, 50, 10, 10) and found.rival_score == pytest.approx(0.6 * 0.8 - 0.8 * 0.6)
    assert not found.misaligned
    assert found.salience is SALIENCE


def test_the_best_rival_wins():
    found = aligned(OWN, [WORSE, OWN, BETTER])
    assert found.misaligned and found.rival == (50, 0, 10, 10) and found.rival_score == pytest.approx(1.0)
    assert found.score == pytest.approx(0.6), "the score stays that of the phrase's own region"


def test_the_leading_version_decides():
    found = aligned(OWN, [OWN, BETTER], leading="baseline")
    assert (
        found.score == pytest.approx(0.8) and found.rival_score == pytest.approx(0.0) and not found.misaligned
    )


def test_a_tie_is_no_misalignment():
    twin = candidate((50, 0, 10, 10), (0.8, 0.6), (1.0, 0.0))
    found = aligned(OWN, [OWN, twin])
    assert found.rival_score == found.score and not found.misaligned


@pytest.mark.parametrize(("height", "rivals"), [(15, False), (20, False), (21, True)])
def test_a_region_that_overlaps_by_half_is_the_same_place(height, rivals):
    """IoU with (0, 0, 10, 10): 10/15, 10/20 and 10/21."""
    found = aligned(OWN, [OWN, candidate((0, 0, 10, height), (0, 1.0), (0.6, 0.8))])
    assert (found.rival is not None) == rivals == found.misaligned
    assert (found.rival_score is not None) == rivals


def test_without_others_there_is_no_rival():
    found = aligned(OWN, [OWN])
    assert found.rival is None and found.rival_score is None and not found.misaligned


def test_attention_inside_is_a_share_of_the_attention_on_the_image():
    assert aligned(OWN, []).attention == pytest.approx({"baseline": 0.2 / 0.4, "ssa-me": 0.3 / 0.4})
    wide = candidate((0, 0, 20, 10), (1, 0), (1, 0), weights=(0.2, 0.9, 0, 0.1))
    assert aligned(wide, []).attention == pytest.approx({"baseline": 0.3 / 0.4, "ssa-me": 1.0})


def test_attention_elsewhere_is_nothing_inside():
    dark = {"baseline": np.zeros(4), "ssa-me": np.array([0.5, 0, 0, 0])}
    assert aligned(OWN, [], attention=dark).attention == {"baseline": 0.0, "ssa-me": 0.0}


def test_a_phrase_without_a_region_is_not_misaligned():
    found = aligned(None, [BETTER])
    assert (found.region, found.rival, found.rival_score, found.misaligned) == (None, None, None, False)
    assert found.score == 0 and found.scores == found.attention == {"baseline": 0.0, "ssa-me": 0.0}


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_json_by_hand():
    explanation = Explanation(
        image_size=(60, 60),
        boxes=np.zeros((4, 4)),
        similarity={"baseline": 0.25, "ssa-me": 0.5},
        attention=ATTENTION,
        attention_on_image={"baseline": 0.4, "ssa-me": 0.4},
        stages={"head": SALIENCE},
        regions=(Region((np.float32(1.26), 2, 3, 4), 0.5),),
        alignment=(aligned(OWN, [OWN, BETTER]), aligned(None, [])),
        seconds={"vision": 0.1},
    )
    written = json.loads(json.dumps(explanation.to_json(), allow_nan=False))
    first, second = written.pop("alignment")
    assert written == {
        "models": {
            "baseline": {"similarity": 0.25, "attention_on_image": 0.4},
            "ssa-me": {"similarity": 0.5, "attention_on_image": 0.4},
        },
        "attributions": [],
        "regions": [{"bbox": [1.3, 2, 3, 4], "salience": 0.5}],
        "seconds": {"vision": 0.1},
        "salience": "head",
        "subjects": {"source": "given", "described": ""},
    }
    assert first["phrase"] == "a bird" and first["misaligned"] is True
    assert first["region"] == [0, 0, 10, 10] and first["rival"]["bbox"] == [50, 0, 10, 10]
    assert (first["score"], first["rival"]["score"]) == pytest.approx((0.6, 1.0))
    assert second["region"] is None and second["rival"] is None and second["misaligned"] is False
    assert set(first) >= {"phrase", "score", "region", "rival", "misaligned"}


# --- explanations of tiny models -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture(scope="module")
def bare(checkpoint_of) -> SalientEmbedder:
    return SalientEmbedder.load(checkpoint_of("qwen3_vl"), "cpu")


@pytest.fixture(scope="module")
def discs() -> Image.Image:
    """A red and a blue disc on grey, 96 × 48."""
    pixels = np.full((48, 96, 3), 128, dtype=np.uint8)
    y, x = np.mgrid[:48, :96]
    for centre, colour in ((24, (210, 30, 40)), (72, (40, 60, 210))):
        pixels[(x - centre) ** 2 + (y - 24) ** 2 <= 14**2] = colour
    return Image.fromarray(pixels)


def check(explanation: Explanation, image: Image.Image) -> None:
    """What holds for every explanation."""
    count = len(explanation.boxes)
    assert explanation.image_size == image.size
    assert explanation.boxes.shape == (count, 4)
    widths, heights = (explanation.boxes[:, 2:] - explanation.boxes[:, :2]).T
    assert (widths > 0).all() and (heights > 0).all()
    np.testing.assert_allclose((widths * heights).sum(), image.width * image.height, rtol=1e-4)
    for v in VERSIONS:
        row = explanation.attention[v]
        assert row.shape == (count,) and row.min() >= 0 and 0 < row.sum() <= 1
        assert explanation.attention_on_image[v] == pytest.approx(row.sum())
    for stage in explanation.stages.values():
        assert stage.shape == (count,) and stage.min() >= 0 and stage.max() <= 1
    for alignment in explanation.alignment:
        assert alignment.salience.shape == (count,)
        assert set(alignment.scores) == set(alignment.attention) == set(VERSIONS)
        assert all(-1.001 <= score <= 1.001 for score in alignment.scores.values())
        assert all(0 <= share <= 1.001 for share in alignment.attention.values())
        assert alignment.score == alignment.scores["ssa-me"]
        for box in (alignment.region, alignment.rival):
            if box is not None:
                x, y, w, h = box
                assert x >= 0 and y >= 0 and x + w <= image.width + 1e-3 and y + h <= image.height + 1e-3
    assert all(seconds >= 0 for seconds in explanation.seconds.values())
    json.dumps(explanation.to_json(), allow_nan=False)


def test_a_text_with_two_subjects(trained, discs):
    text = "a red bird and a blue circle"
    explanation = trained.explain(discs, text)
    check(explanation, discs)
    assert set(explanation.stages) == {"semantic", "expert", "fused", "head", "gain"}
    assert [a.phrase for a in explanation.alignment] == ["a red bird", "a blue circle"]
    embedded = trained.embed([Sample(text), Sample(image=discs)], subjects=True)
    for v in VERSIONS:
        cosine = float(embedded.vectors[v][0] @ embedded.vectors[v][1])
        assert explanation.similarity[v] == pytest.approx(cosine, abs=1e-4)
    assert explanation.regions == tuple(region for region in embedded.regions[1] if region.single)


def test_the_gain_is_what_regeneration_takes(trained, trained_checkpoint, discs):
    _, settings = load_parts(trained_checkpoint / "ssa-me", 32)
    stages = trained.explain(discs, "a red bird and a blue circle").stages
    np.testing.assert_allclose(
        stages["gain"], settings.floor + (1 - settings.floor) * stages["head"], atol=1e-6
    )
    assert settings.floor == 0.3


def test_a_stage_is_the_brightest_of_its_phrases(trained, discs):
    both = trained.explain(discs, "a red bird and a blue circle")
    single = [trained.explain(discs, phrase) for phrase in ("a red bird", "a blue circle")]
    for name in ("semantic", "expert", "fused", "head"):
        brightest = np.maximum(*(explanation.stages[name] for explanation in single))
        np.testing.assert_allclose(both.stages[name], brightest, atol=1e-4)
    for alignment, alone in zip(both.alignment, single, strict=True):
        np.testing.assert_allclose(alignment.salience, alone.alignment[0].salience, atol=1e-4)
    assert np.abs(single[0].stages["head"] - single[1].stages["head"]).max() > 1e-3


def test_the_attention_is_that_of_the_maps(trained, discs):
    explanation = trained.explain(discs, "a red bird")
    [maps] = trained.maps([discs], ["a red bird"])
    np.testing.assert_allclose(explanation.boxes, maps.boxes)
    np.testing.assert_allclose(explanation.stages["head"], maps.salience, atol=1e-5)
    for v in VERSIONS:
        np.testing.assert_allclose(explanation.attention[v], maps.attention[v], atol=1e-5)


def test_without_a_text_all_is_query_free(trained, discs):
    for text in (None, "", "  "):
        explanation = trained.explain(discs, text)
        check(explanation, discs)
        assert explanation.alignment == () and explanation.similarity == {}
        assert set(explanation.stages) == {"expert", "head", "gain"}
        [maps] = trained.maps([discs], [None])
        np.testing.assert_allclose(explanation.stages["head"], maps.salience, atol=1e-5)
        assert all("similarity" not in model for model in explanation.to_json()["models"].values())


def test_phrases_in_place_of_those_of_the_text(trained, discs):
    explanation = trained.explain(discs, "a red bird", ["tree", "house", "red"])
    check(explanation, discs)
    assert [a.phrase for a in explanation.alignment] == ["tree", "house", "red"]
    assert set(explanation.similarity) == set(VERSIONS)
    silent = trained.explain(discs, None, ["tree"])
    check(silent, discs)
    assert len(silent.alignment) == 1 and silent.similarity == {}
    assert trained.explain(discs, "a red bird", []).alignment == ()


def test_training_free(bare, discs):
    explanation = bare.explain(discs, "a red thing and a blue thing")
    check(explanation, discs)
    assert set(explanation.stages) == {"semantic", "expert", "fused", "gain"}
    np.testing.assert_allclose(explanation.stages["gain"], 0.5 + 0.5 * explanation.stages["fused"], atol=1e-6)
    red, blue = explanation.alignment
    assert red.region[0] + red.region[2] / 2 < 48 < blue.region[0] + blue.region[2] / 2
    check(bare.explain(discs, None), discs)


def test_an_image_without_a_subject(bare):
    plain = Image.new("RGB", (50, 80), (90, 90, 90))
    explanation = bare.explain(plain, "a red bird")
    check(explanation, plain)
    [alignment] = explanation.alignment
    assert explanation.regions == () and alignment.region is None and not alignment.misaligned
    assert alignment.score == 0


def test_alignment_scores_are_cosines_with_the_pooled_states(bare, checkpoint_of, discs):
    """The baseline's score from the backbone alone: the phrase against the mean of H under the phrase's own region."""
    backbone = Backbone.load(checkpoint_of("qwen3_vl"), torch.device("cpu"), torch.float32)
    [alignment] = bare.explain(discs, "a red thing").alignment
    with torch.no_grad():
        visual = backbone.vision_pass([discs])
        hidden = backbone.language_pass([""], visual).hidden[0].numpy()
        spoken = backbone.language_pass(["a red thing"]).last[0].numpy()
    x, y, w, h = alignment.region
    inside = (visual.boxes[0, :, 0] >= x - 1e-3) & (visual.boxes[0, :, 2] <= x + w + 1e-3)
    inside &= (visual.boxes[0, :, 1] >= y - 1e-3) & (visual.boxes[0, :, 3] <= y + h + 1e-3)
    weights = np.where(inside & (alignment.salience >= 0.5 * alignment.salience.max()), alignment.salience, 0)
    pooled = weights @ hidden
    cosine = pooled @ spoken / np.linalg.norm(pooled) / np.linalg.norm(spoken)
    assert alignment.scores["baseline"] == pytest.approx(cosine, abs=1e-4)


@pytest.mark.parametrize(
    "text", ["красная птица", "赤い鳥と青い木", "<|image_pad|> and <|im_end|>", "a red bird " * 910]
)
def test_any_text_is_explained(text, trained, discs):
    explanation = trained.explain(discs, text)
    check(explanation, discs)
    assert 1 <= len(explanation.alignment) <= 6


# --- for a closer look -----------------------------------------------------------------------------------------------


def test_a_phrase_that_is_only_asked_about_conditions_nothing(trained, discs):
    plain = trained.explain(discs, "a red bird")
    asked = trained.explain(discs, "a red bird", also=["a blue circle"])
    check(asked, discs)
    assert [a.phrase for a in asked.alignment] == ["a red bird", "a blue circle"]
    assert asked.subjects == plain.subjects
    for v in VERSIONS:
        np.testing.assert_allclose(asked.attention[v], plain.attention[v], atol=1e-6)
    for name, stage in plain.stages.items():
        np.testing.assert_allclose(asked.stages[name], stage, atol=1e-6)
    alone = trained.explain(discs, None, ["a blue circle"])
    np.testing.assert_allclose(asked.alignment[1].salience, alone.alignment[0].salience, atol=1e-5)


def test_each_phrase_has_every_stage(trained, discs):
    explanation = trained.explain(discs, "a red bird", also=["a blue circle"])
    assert set(explanation.each) == {"semantic", "expert", "fused", "head", "gain"}
    for name, rows in explanation.each.items():
        assert rows.shape == (2, len(explanation.boxes))
        np.testing.assert_allclose(rows[0], explanation.stages[name], atol=1e-6)
    without = trained.explain(discs, None, also=["a blue circle"])
    assert without.each["head"].shape[0] == 1 and without.subjects.phrases == ()


def test_the_table_holds_every_phrase_against_every_region(trained, discs):
    explanation = trained.explain(discs, "a red bird and a blue circle")
    table = explanation.table
    assert table is not None
    regions = len(table.bboxes)
    assert len(table.owners) == len(table.weights) == regions
    for v in VERSIONS:
        assert table.scores[v].shape == (2, regions) and table.inside[v].shape == (regions,)
    for k, alignment in enumerate(explanation.alignment):
        if alignment.region is None:
            continue
        own = table.owners.index(k)
        assert table.bboxes[own] == alignment.region
        for v in VERSIONS:
            assert table.scores[v][k, own] == pytest.approx(alignment.scores[v], abs=1e-5)
            assert table.inside[v][own] == pytest.approx(alignment.attention[v], abs=1e-5)
    assert trained.explain(discs, None).table is None


def test_the_mean_of_the_heads_is_the_attention(trained, discs):
    explanation = trained.explain(discs, "a red bird", heads=True)
    plain = trained.explain(discs, "a red bird")
    assert plain.heads == {}
    for v in VERSIONS:
        heads = explanation.heads[v]
        assert heads.shape == (3, 4, len(explanation.boxes))
        np.testing.assert_allclose(explanation.attention[v], plain.attention[v], atol=1e-6)
        np.testing.assert_allclose(attention_of(heads, None, None), plain.attention[v], atol=1e-6)
        np.testing.assert_allclose(attention_of(heads, 2, 1), heads[2, 1], atol=1e-7)
        np.testing.assert_allclose(attention_of(heads, None, 1, (0, 2)), heads[[0, 2], 1].mean(0), atol=1e-7)


@pytest.mark.parametrize(("layer", "head"), [(3, None), (None, 4), (-1, None)])
def test_there_is_no_other_layer_or_head(layer, head):
    with pytest.raises(InputError, match="the model has"):
        attention_of(np.zeros((3, 4, 5)), layer, head)
