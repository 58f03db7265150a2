"""A model on a lent GPU gives what it gives elsewhere: in a forked process, from data that is pickled, and from nothing else."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.inspect_settings import InspectSettings
from app.lent import PASS_SECONDS, WORK_SECONDS, LentEmbedder, run_on
from app.permalink import SearchState
from app.workspace import Workspace
from app.zero_gpu import VARIABLE, Lend, lender
from ssa_me.attribution import Settings, assess, attribute, modality_balance, sanity_check
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.samples import Sample
from tests.app.lending import Spaces

TEXT = "a red circle on the left of a blue square"
Given = Callable[[SalientEmbedder, Image.Image], object]
PASSES: dict[str, Given] = {
    "embed texts": lambda model, image: model.embed([Sample(TEXT), Sample("a green tree")]),
    "embed images": lambda model, image: model.embed([Sample(image=image), Sample(TEXT, image)], subjects=True),
    "re-rank": lambda model, image: model.embed([Sample(image=image)], conditioned_on=TEXT),
    "re-rank in full": lambda model, image: model.embed(
        [Sample(TEXT, image)], versions=("ssa-me",), conditioned_on=TEXT, salience="full"
    ),
    "embed_query": lambda model, image: model.embed_query(TEXT, image, 0.3),
    "embed_region": lambda model, image: model.embed_region(image, (4.0, 4.0, 30.0, 30.0)),
    "embed_redrawn": lambda model, image: model.embed_redrawn(image, [(4.0, 4.0, 30.0, 30.0)]),
    "embed_weighted": lambda model, image: model.embed_weighted(image, np.eye(16, dtype=np.float32)),
    "subjects": lambda model, image: model.subjects([Sample(TEXT), Sample(image=image)]),
    "explain": lambda model, image: model.explain(image, TEXT, also=("a tree",), heads=True),
    "explain in full": lambda model, image: model.explain(image, TEXT, salience="full"),
    "explain without text": lambda model, image: model.explain(image, None),
    "maps": lambda model, image: model.maps([image], [TEXT]),
    "layer_maps": lambda model, image: model.layer_maps([image], [TEXT]),
    "control_maps": lambda model, image: model.control_maps([image], [TEXT]),
}  # fmt: skip
HERE = {"load", "phrases", "reads_claims", "has_codes", "reads_whole", "exact", "run"}
"""Public methods that run no pass, or refuse to."""


@pytest.fixture(scope="module")
def model(trained_checkpoint: Path) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> Spaces:
    module = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv(VARIABLE, "true")
    return module


@pytest.fixture
def lend(spaces: Spaces) -> Lend:
    found = lender()
    assert found is not None
    return found


@pytest.fixture
def lent(model: SalientEmbedder, lend: Lend) -> LentEmbedder:
    return LentEmbedder(model, lend)


@pytest.fixture
def shown() -> Image.Image:
    random = np.random.default_rng(0)
    pixels = random.integers(60, 120, (64, 64, 3), dtype=np.uint8)
    pixels[10:30, 8:28] = (220, 30, 30)
    return Image.fromarray(pixels)


def assert_same(found: object, expected: object, where: str = "") -> None:
    """Both hold the same, but for the time that it took; no tensor is in it."""
    assert not isinstance(found, torch.Tensor), f"{where}: a tensor may lie on the GPU that is given back"
    assert type(found) is type(expected), where
    if isinstance(expected, np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=where)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True), where
    elif is_dataclass(expected):
        for field in fields(expected):
            if field.name != "seconds":
                values = (vars(one)[field.name] for one in (found, expected))
                assert_same(*values, f"{where}.{field.name}")
    elif isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for number, pair in enumerate(zip(found, expected, strict=True)):
            assert_same(*pair, f"{where}[{number}]")
    else:
        assert found == expected, where


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_gives_the_same_in_the_forked_process(
    name: str, lent: LentEmbedder, model: SalientEmbedder, spaces: Spaces, shown: Image.Image
) -> None:
    found = PASSES[name](lent, shown)
    assert spaces.forks == [PASS_SECONDS]
    assert_same(found, PASSES[name](model, shown), name)


def test_attributions_give_the_same_in_the_forked_process(
    lent: LentEmbedder, model: SalientEmbedder, spaces: Spaces, shown: Image.Image
) -> None:
    settings = Settings(steps=4)

    def all_of(one: SalientEmbedder) -> list[object]:
        made = run_on(one, attribute, shown, TEXT, "integrated-gradients", settings=settings)
        return [
            made,
            run_on(one, attribute, shown, TEXT, "occlusion", target="difference", settings=settings),
            run_on(one, assess, shown, made, region=np.eye(64, dtype=bool)),
            run_on(one, sanity_check, shown, made),
            run_on(one, modality_balance, shown, TEXT, None, [Sample("a green tree", shown)]),
        ]

    found = all_of(lent)
    assert spaces.forks == [WORK_SECONDS] * 5
    assert_same(found, all_of(model))


def test_no_pass_is_forgotten(lent: LentEmbedder) -> None:
    methods = {name for name, _ in inspect.getmembers(SalientEmbedder, callable) if not name.startswith("_")}
    own = {name for name in methods if vars(LentEmbedder).get(name)}
    assert methods - own <= HERE
    assert {name.split()[0] for name in PASSES} - {"re-rank"} == own - HERE


def test_the_process_has_the_model_as_it_is_loaded_here(
    trained_checkpoint: Path, lend: Lend, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SalientEmbedder.load(trained_checkpoint, "cpu")
    lent = LentEmbedder(model, lend)
    before = lent.embed([Sample(TEXT)]).vectors["baseline"]
    monkeypatch.setattr(SalientEmbedder, "load", None)
    with torch.no_grad():
        for parameter in model._passes.backbone.model.parameters():
            parameter.mul_(1.5)
    after = lent.embed([Sample(TEXT)]).vectors["baseline"]
    assert float(before[0] @ after[0]) < 0.999
    assert_same(after, model.embed([Sample(TEXT)]).vectors["baseline"])


def test_what_is_wrong_with_the_input_comes_back_as_its_sentence(
    lent: LentEmbedder, shown: Image.Image
) -> None:
    with pytest.raises(InputError, match="There is no version pixel"):
        lent.embed([Sample(TEXT)], versions=("pixel",))
    with pytest.raises(InputError, match="no part of the image"):
        lent.embed_region(shown, (900.0, 900.0, 5.0, 5.0))
    with pytest.raises(InputError, match="no text"):
        run_on(lent, attribute, shown, " ", "occlusion")


def test_what_needs_no_pass_is_answered_here(
    lent: LentEmbedder, model: SalientEmbedder, spaces: Spaces
) -> None:
    long = "a red circle " * 400
    assert lent.reads_whole(TEXT) and not lent.reads_whole(long)
    assert lent.phrases(TEXT) == model.phrases(TEXT)
    assert (lent.layers, lent.reads_claims("ssa-me")) == (model.layers, model.reads_claims("ssa-me"))
    assert lent.info.fingerprints == model.info.fingerprints and "ZeroGPU" in lent.info.reason
    assert spaces.forks == []


def test_no_lock_of_this_process_stops_the_forked_one(
    lent: LentEmbedder, model: SalientEmbedder, spaces: Spaces
) -> None:
    assert lent._words.tokenizer is not model._passes.backbone.tokenizer
    with lent._words_lock:  # as another thread holds it that reads a text
        assert lent.embed([Sample(TEXT)]).vectors["ssa-me"].shape == (1, model.info.dimension)


def test_no_pass_runs_in_this_process(lent: LentEmbedder) -> None:
    with pytest.raises(RuntimeError, match="No pass runs"), lent.exact():
        pass
    with pytest.raises(RuntimeError, match="No pass runs"), lent._locked():
        pass


# The page


@pytest.fixture
def workspace(trained_checkpoint: Path, lend: Lend, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path, str(trained_checkpoint), "cpu", demo_images=6, lend=lend)
    made.load()
    assert made.model() is not None, "the model is there before the workspace is started"
    made.start()._start.wait(120)
    assert made.starting.phase == "done", made.starting.message
    return made


def test_the_page_works_on_a_lent_gpu(workspace: Workspace, spaces: Spaces) -> None:
    embedder = workspace.embedder()
    assert isinstance(embedder, LentEmbedder) and spaces.forks, "the gallery's images were embedded there"
    for method in ("vector", "rerank"):
        state = SearchState(text=TEXT, gallery="scenes", method=method)
        assert [len(ranking["hits"]) for ranking in workspace.search(state)["lists"]] == [6, 6]
    hit = workspace.search(state)["lists"][1]["hits"][0]["id"]
    assert workspace.explain(state, hit)
    inspected = SearchState(text=TEXT, gallery="scenes", tab="inspect", hit=hit)
    settings = InspectSettings(attribution="occlusion", regions=((4.0, 4.0, 60.0, 60.0),))
    assert workspace.inspector.look(inspected, settings)["redraw"]
    for kind in ("map", "sanity", "balance"):
        asked = workspace.inspector.attributions.begin(inspected, settings, kind)
        until = time.monotonic() + 120
        while asked["phase"] == "running" and time.monotonic() < until:
            time.sleep(0.1)
            asked = workspace.inspector.attributions.look(asked["key"])
        assert asked["phase"] == "done", asked


def test_an_attribution_that_was_to_stop_is_dropped(workspace: Workspace) -> None:
    attributions = workspace.inspector.attributions
    state = SearchState(text=TEXT, gallery="scenes", tab="inspect", hit=1)
    asked = attributions.begin(state, InspectSettings(attribution="occlusion"), "map")
    attributions.stop(asked["key"])
    until = time.monotonic() + 120
    while (now := attributions.look(asked["key"]))["phase"] == "running" and time.monotonic() < until:
        time.sleep(0.1)
    assert now["phase"] == "cancelled"


def test_a_quota_that_is_used_up_is_a_sentence_on_the_page(workspace: Workspace, spaces: Spaces) -> None:
    spaces.refused = "Space app has reached its GPU limit."
    with pytest.raises(InputError, match="reached its GPU limit"):
        workspace.search(SearchState(text="another text", gallery="scenes"))


def test_another_version_waits_for_a_restart(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="restart"):
        workspace.reload()
    assert workspace.model() is not None
