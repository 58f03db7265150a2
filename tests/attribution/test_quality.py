"""Quality of real maps, the sanity check, and the balance of image and text, on a tiny model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ssa_me.attribution import (
    FORMULAS,
    Cancelled,
    Settings,
    assess,
    attribute,
    modality_balance,
    sanity_check,
)
from ssa_me.errors import InputError
from ssa_me.samples import Sample

TEXT = "a red circle on the left of a blue bird"
QUICK = Settings(steps=16, samples=8, baseline="black")


@pytest.fixture(scope="module")
def attribution(embedder, discs):
    return attribute(embedder, discs, TEXT, "integrated-gradients", settings=QUICK)


@pytest.fixture(scope="module")
def quality(embedder, discs, attribution):
    left = np.zeros((48, 96), dtype=bool)
    left[:, :48] = True
    return assess(embedder, discs, attribution, region=left)


def test_curves_run_between_the_same_ends(quality, attribution):
    whole = attribution.image.score
    assert quality.deletion.scores[0] == pytest.approx(whole, abs=1e-4)
    assert quality.insertion.scores[-1] == pytest.approx(whole, abs=1e-4)
    assert quality.deletion.scores[-1] == quality.insertion.scores[0] == quality.random.scores[-1]
    assert quality.deletion.fractions[0] == 0 and quality.deletion.fractions[-1] == 1


def test_the_json_is_the_contracts(quality):
    found = quality.to_json()
    assert {"convergence", "deletion_auc", "insertion_auc", "infidelity"} <= set(found)
    assert found["verdict"]["level"] in ("high", "medium", "low")
    assert found["pointing_game"] in (0.0, 1.0) and 0 <= found["energy_pointing_game"] <= 1
    assert {check["name"] for check in found["verdict"]["checks"]} <= set(FORMULAS)


def test_a_map_turned_round_is_trusted_less(embedder, discs):
    """What each cell's blur costs, and the same with the other sign, which deletes what speaks against the match first."""
    each = attribute(embedder, discs, TEXT, "occlusion", settings=Settings(window=1))
    quality = assess(embedder, discs, each)
    found = assess(embedder, discs, dataclasses.replace(each, values=-each.values, pixels=-each.pixels))
    assert found.deletion.auc > quality.deletion.auc and found.insertion.auc < quality.insertion.auc
    assert found.pointing_game is None and found.energy is None, "no region was given"


def test_a_constant_map_and_an_empty_region_are_said(embedder, discs, attribution):
    flat = dataclasses.replace(attribution, values=np.ones_like(attribution.values))
    nowhere = np.zeros((48, 96), dtype=bool)
    found = assess(embedder, discs, flat, region=nowhere)
    assert found.verdict.level == "undefined" and "same everywhere" in found.verdict.reason
    assert found.deletion is None and found.pointing_game is None
    assert any("no pixel" in note for note in found.notes)
    everywhere = assess(embedder, discs, flat, region=~nowhere)
    assert everywhere.pointing_game is None and any("points nowhere" in note for note in everywhere.notes)


def test_a_map_without_a_sign_has_no_infidelity(embedder, discs):
    found = assess(embedder, discs, attribute(embedder, discs, TEXT, "saliency"))
    assert found.infidelity is None and found.convergence is None
    assert any("sign" in note for note in found.notes)
    assert found.verdict.level != "undefined"


def test_an_attribution_of_another_image_is_refused(embedder, picture, discs, attribution):
    with pytest.raises(InputError, match="another image"):
        assess(embedder, picture(64, 64), attribution)
    with pytest.raises(InputError, match="The region is 5 × 4 pixels"):
        assess(embedder, discs, attribution, region=np.ones((4, 5), dtype=bool))


def test_assessing_can_be_cancelled(embedder, discs, attribution):
    with pytest.raises(Cancelled):
        assess(embedder, discs, attribution, cancelled=lambda: True)
    with pytest.raises(Cancelled):
        sanity_check(embedder, discs, attribution, cancelled=lambda: True)


# --- sanity ----------------------------------------------------------------------------------------------------------


def test_the_sanity_check_leaves_the_model_as_it_was(embedder, discs, attribution):
    weights = {name: p.clone() for name, p in embedder._passes.backbone.model.named_parameters()}
    before = embedder.embed([Sample(TEXT), Sample(image=discs)]).vectors
    seen: list[float] = []
    found = sanity_check(embedder, discs, attribution, progress=lambda done, total: seen.append(done / total))
    assert [name for name, _ in found.stages][-1] == "everything" and len(found.stages) == 3
    assert found.passed is not None and f"{found.stages[-1][1]:.2f}" in found.reason
    assert max(seen) <= 1 and seen[-1] > 0.9
    for name, parameter in embedder._passes.backbone.model.named_parameters():
        assert torch.equal(parameter, weights[name]), name
    for version, vectors in embedder.embed([Sample(TEXT), Sample(image=discs)]).vectors.items():
        assert np.array_equal(vectors, before[version])
    assert not any(p.grad is not None for p in embedder._passes.backbone.model.parameters())


def test_a_map_of_the_image_alone_fails_the_sanity_check(embedder, discs, attribution, monkeypatch):
    """A method that gives the same map whatever the weights are."""
    from ssa_me.attribution import sanity

    monkeypatch.setattr(sanity, "attribute_with", lambda *args: attribution)
    found = sanity_check(embedder, discs, attribution)
    assert found.passed is False and "explains the image" in found.reason
    assert all(rho == pytest.approx(1) for _, rho in found.stages)


# --- balance ---------------------------------------------------------------------------------------------------------


def test_the_balance_of_a_pair(embedder, discs, picture):
    others = [Sample("a tree", picture(64, 64, 1)), Sample("the house"), Sample(image=picture(64, 64, 2))]
    found = modality_balance(embedder, discs, TEXT, others=others)
    assert found.measured == "pair" and "text alone" in found.note
    vectors = embedder.embed(
        [Sample(TEXT), Sample(image=discs), Sample("a tree"), Sample("the house")]
    ).vectors
    for version, balance in found.versions.items():
        text, image, tree, house = vectors[version]
        assert balance.score == pytest.approx(float(text @ image), abs=1e-5)
        assert balance.text.permuted == pytest.approx(float((tree + house) @ image / 2), abs=1e-5)
        assert balance.text.fall == pytest.approx(balance.score - balance.text.without)
        assert balance.image_share is None or 0 <= balance.image_share <= 1
        assert 0 < balance.attention_on_image < 1


def test_the_balance_of_a_query_of_both(embedder, discs, picture):
    asked = picture(64, 64, 3)
    found = modality_balance(embedder, discs, TEXT, asked)
    samples = [Sample(TEXT, asked), Sample(TEXT), Sample(image=asked), Sample(image=discs)]
    for version, rows in embedder.embed(samples).vectors.items():
        balance = found.versions[version]
        assert balance.score == pytest.approx(float(rows[0] @ rows[3]), abs=1e-5)
        assert balance.image.without == pytest.approx(float(rows[1] @ rows[3]), abs=1e-5)
        assert balance.text.without == pytest.approx(float(rows[2] @ rows[3]), abs=1e-5)
        assert balance.image.permuted is None and balance.image.fall_permuted is None
    assert found.to_json()["models"]["baseline"]["attention"]["image"] > 0
    with pytest.raises(InputError, match="no text"):
        modality_balance(embedder, discs, " ", asked)
