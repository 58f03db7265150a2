import numpy as np
import pytest

from ssa_me.evaluation.perceptual import Measured, Outcomes, outcomes, permuted, statistics

ROLES = np.array([["right", "image", "text", "neither"]])


def test_hits_and_what_errors_ignore():
    scores = np.array(
        [
            [0.9, 0.1, 0.2, 0.3],  # right
            [0.5, 0.9, 0.2, 0.3],  # the text's kind, another image's colour
            [0.5, 0.1, 0.9, 0.3],  # what the image shows, another text's kind
            [0.5, 0.5, 0.5, 0.5],  # all one: a miss, shared by the three that tie
        ]
    )
    found = outcomes(scores, np.repeat(ROLES, 4, axis=0))
    assert found.hit.tolist() == [1, 0, 0, 0]
    assert found.hit_image.tolist() == [1, 0, 1, 0]
    assert found.hit_text.tolist() == [1, 1, 0, 0]
    assert found.errors["ignores_image"] == pytest.approx([0, 1, 0, 1 / 3])
    assert found.errors["ignores_text"] == pytest.approx([0, 0, 1, 1 / 3])
    assert found.errors["neither"] == pytest.approx([0, 0, 0, 1 / 3])


def measured(hit, without_image, without_text):
    hit = np.array(hit, dtype=float)
    nothing = np.zeros(len(hit))
    errors = {"ignores_image": 1 - hit, "ignores_text": nothing, "neither": nothing}
    outcome = Outcomes(hit, hit, hit, errors)
    return Measured(
        outcome, np.array(without_image, dtype=float), np.array(without_text, dtype=float), nothing + 0.25
    )


def test_perceptual_scores_by_hand():
    # Accuracy .75; without the image .25, without the text .5: scores 2/3 and 1/3.
    found = statistics(measured([1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]), [0, 1, 2, 3])
    value = {name: statistic.value for name, statistic in found.items()}
    assert value["perceptual_score.image"] == pytest.approx(2 / 3)
    assert value["perceptual_score.text"] == pytest.approx(1 / 3)
    assert value["balance"] == value["imbalance"] == pytest.approx(1 / 3)
    assert value["image_share"] == pytest.approx(2 / 3)
    assert value["errors.ignores_image"] == 1.0
    assert value["attention_on_image"] == 0.25


def test_a_negative_score_takes_no_share_and_a_model_that_is_never_right_has_none():
    found = statistics(measured([1, 0], [0, 0], [1, 1]), [0, 1])
    assert found["perceptual_score.text"].value == -1.0
    assert found["image_share"].value == 1.0
    assert found["imbalance"].value == 2.0
    nothing = statistics(measured([0, 0], [1, 0], [0, 0]), [0, 1])
    assert nothing["balance"].estimate() is None
    assert nothing["hit@1"].estimate().value == 0.0


def test_a_model_less_itself_is_nothing_with_no_doubt():
    one = statistics(measured([1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]), [0, 0, 1, 2])["balance"]
    gap = one.minus(one).estimate()
    assert (gap.value, gap.interval) == (0.0, (0.0, 0.0))
    assert one.estimate().interval[0] < one.estimate().interval[1]


def test_permuted_takes_each_once_and_never_from_the_same_group():
    groups = [0] * 3 + [1] * 3 + [2] * 2 + [3]
    for seed in range(20):
        swap = permuted(groups, seed)
        assert sorted(swap) == list(range(9))
        assert all(groups[i] != groups[j] for i, j in enumerate(swap))
    assert permuted(groups, 1).tolist() == permuted(groups, 1).tolist() != permuted(groups, 2).tolist()
    with pytest.raises(ValueError, match="one group holds 3 of 5"):
        permuted([0, 0, 0, 1, 2], 0)
