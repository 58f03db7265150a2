"""Binding tasks as a gallery: drawn, indexed, ranked among their own scenes; stopped, and gone on with."""

from __future__ import annotations

import pytest

from ssa_me.errors import InputError
from ssa_me.failures import mine
from ssa_me.failures.binding import binding_gallery, binding_queries, is_binding
from ssa_me.gallery import Gallery


def test_a_query_is_ranked_among_its_own_scenes(tmp_path, embedder):
    folder = tmp_path / "binding"
    stop = iter([False] * 4 + [True] * 99)
    assert binding_gallery(folder, 1, embedder, size=64, workers=0, cancelled=lambda: next(stop)) is None
    told: list[str] = []
    gallery = binding_gallery(
        folder, 1, embedder, size=64, workers=0, progress=lambda what, share: told.append(what)
    )
    assert gallery is not None and is_binding(gallery) and len(gallery) == 48
    assert not any("Drawing" in what for what in told), "scenes are drawn once"
    items = {item.id: item for item in gallery.items(0, 100)}
    asked = binding_queries(gallery, list(items.values()))
    assert [query.kind for query in asked.queries] == ["colour", "subject", "background", "relation"]
    assert all(
        len(query.candidates) == 12 and query.targets == query.candidates[:1] for query in asked.queries
    )
    assert items[asked.queries[1].targets[0]].subjects
    run = mine(gallery, embedder, asked, tmp_path / "run")
    assert run is not None and set(run.table.chances) == {1 / 12}
    assert all(1 <= rank <= 12 for rank in run.table.numbers["rank_baseline"])
    with pytest.raises(InputError, match="other binding tasks than 2"):
        binding_gallery(folder, 2, embedder)


def test_what_is_refused(tmp_path, embedder):
    for n in (0, 501):
        with pytest.raises(InputError, match=f"not {n}"):
            binding_gallery(tmp_path / "binding", n, embedder)
    plain = Gallery.create(tmp_path / "plain", "Plain", "fake")
    assert not is_binding(plain)
    with pytest.raises(InputError, match="no binding tasks"):
        binding_queries(plain, [])
