import pytest

from ssa_me.annotation import Picture, Truth
from ssa_me.annotation.agreement import is_right, krippendorff_alpha, mean_pairwise_iou, region_iou
from ssa_me.samples import Subject, encode_mask
from tests.annotation.conftest import disc

PICTURE = Picture(1, "a.png", 20, 20)


def box(x: float, y: float, w: float, h: float) -> Subject:
    return Subject("it", (x, y, w, h))


def test_alpha_by_hand() -> None:
    # Four items of two annotators: keep-keep, keep-keep, reject-reject, keep-reject. Values: 5 keep, 3 reject, n = 8.
    # Coincidences off the diagonal: 2; expected off the diagonal: (64 - 25 - 9) / 7 = 30 / 7. alpha = 1 - 2 · 7 / 30.
    units = [{"a": "k", "b": "k"}, {"a": "k", "b": "k"}, {"a": "r", "b": "r"}, {"a": "k", "b": "r"}]
    assert krippendorff_alpha(units) == pytest.approx(1 - 14 / 30)


def test_alpha_of_three_with_gaps_by_hand() -> None:
    # k k r gives pairs k-k 2, k-r 2, r-k 2, each halved: 1, 1, 1. r r gives r-r 2. n = 5: 2 keep, 3 reject.
    # Observed off the diagonal 2, expected (25 - 4 - 9) / 4 = 3. alpha = 1 - 2 / 3. The single value does not count.
    units = [{"a": "k", "b": "k", "c": "r"}, {"b": "r", "c": "r"}, {"a": "k"}]
    assert krippendorff_alpha(units) == pytest.approx(1 / 3)


def test_alpha_of_the_handbook() -> None:
    """Krippendorff's own example of binary data: two observers, ten items, alpha 0.095."""
    first, second = (
        ["0", "1", "0", "0", "0", "0", "0", "0", "1", "0"],
        ["1", "1", "1", "0", "0", "1", "0", "0", "0", "0"],
    )
    units = [{"a": a, "b": b} for a, b in zip(first, second, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.095, abs=0.0005)


def test_alpha_ends() -> None:
    opposite = [{"a": "k", "b": "r"}, {"a": "r", "b": "k"}]
    assert krippendorff_alpha([{"a": "k", "b": "k"}, {"a": "r", "b": "r"}]) == 1
    assert krippendorff_alpha(opposite) == pytest.approx(1 - 3 * 4 / 8)
    assert krippendorff_alpha([{"a": "k", "b": "k"}]) is None
    assert krippendorff_alpha([{"a": "k"}]) is None
    assert krippendorff_alpha([]) is None


def test_overlap_of_boxes_and_masks() -> None:
    assert region_iou(box(0, 0, 10, 10), box(5, 0, 10, 10), PICTURE) == pytest.approx(50 / 150)
    whole, half = disc(20, 20), disc(20, 20)
    half[:, 10:] = False
    first, second = (Subject("it", None, encode_mask(m)) for m in (whole, half))
    assert region_iou(first, second, PICTURE) == pytest.approx(half.sum() / whole.sum())
    assert region_iou(first, box(4, 4, 13, 13), PICTURE) == pytest.approx(1.0)


def test_mean_over_items_of_the_mean_over_pairs() -> None:
    same = [box(0, 0, 10, 10)] * 2
    third = [box(0, 0, 10, 10), box(5, 0, 10, 10)]
    assert mean_pairwise_iou([(PICTURE, same), (PICTURE, third)]) == pytest.approx((1 + 1 / 3) / 2)
    assert mean_pairwise_iou([(PICTURE, same[:1])]) is None


@pytest.mark.parametrize(
    ("verdict", "subject", "shown_right", "right"),
    [
        ("accept", box(0, 0, 9, 9), True, True),
        ("accept", box(10, 10, 9, 9), False, False),
        ("reject", box(0, 0, 9, 9), True, False),
        ("reject", box(10, 10, 9, 9), False, True),
        ("fix", box(0, 0, 9, 8), False, True),
        ("fix", box(9, 9, 9, 9), True, False),
    ],
)
def test_honeypots(verdict: str, subject: Subject, shown_right: bool, right: bool) -> None:
    assert is_right(verdict, subject, Truth(shown_right, box(0, 0, 9, 9)), PICTURE) is right
