"""Re-ranking in an evaluation: the reading of an image, and what would be indexed of it where subjects have codes."""

import numpy as np
import pytest

from ssa_me.evaluation.rerank import RERANKED, rerank
from ssa_me.images import load_image
from ssa_me.samples import Sample


@pytest.mark.parametrize(("codes", "expected"), [(False, [1.0, 1.0]), (True, [1.0, (1 + 0.787) / 2])])
def test_what_would_be_indexed_counts_where_subjects_have_codes(tmp_path, embedder, paint, codes, expected):
    """Conditioned on red both images are red alone. Of their halves one is red itself; orange is at .787 from it."""
    files = [paint(tmp_path / "a.png", "red", "blue"), paint(tmp_path / "b.png", "orange")]
    embedder.codes = codes

    def load(row: int) -> Sample:
        return Sample(image=load_image(files[row], files[row].name))

    found = rerank(np.array([0.1, 0.2]), "red", load, "ssa-me", embedder, ())
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_rest_stays_behind(tmp_path, embedder, paint):
    file, embedder.codes = paint(tmp_path / "a.png", "blue"), True
    scores = np.linspace(0.9, 0.1, RERANKED + 2)
    found = rerank(scores, "red", lambda _: Sample(image=load_image(file, file.name)), "ssa-me", embedder, ())
    assert found[:RERANKED].min() > found[RERANKED] > found[RERANKED + 1]
