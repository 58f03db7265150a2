"""Pairs with listed hard negatives: who is whose negative, what a step learns, and runs on folders of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.mmeb_subsets import SUBSETS
from ssa_me.training import TrainRequest, run
from ssa_me.training.data import Corpus, PairDraw, Prepared
from ssa_me.training.mmeb_train import Pair, Side
from ssa_me.training.pair_stage import WithPairs
from ssa_me.training.pairs import PairBatch
from ssa_me.training.recipe import load_recipe
from ssa_me.training.run import sources_of
from ssa_me.training.sources import PairSource

CPU = torch.device("cpu")
A, B = Path("a.png"), Path("b.png")


def text(words: str) -> Side:
    return Side(words, None)


def batch_of(*pairs: Pair) -> PairBatch:
    nothing = Prepared(np.zeros((0, 1)), (1, 1, 1), (1, 1), (), (), np.zeros((0, 1)))
    return PairBatch.of(PairDraw(0, pairs, {A: nothing, B: nothing}), CPU)


# --- who is whose negative -------------------------------------------------------------------------------------------


def test_a_batch_by_hand():
    first = Pair(Side("what", A), text("a dog"), (text("a cat"), text("a bird")))
    second = Pair(Side("what", B), text("a cat"), (Side("", A), text("a bird")))
    batch = batch_of(first, second)
    # the cat is a target already, and the bird stands there once
    assert batch.seen == (Side("what", A), Side("what", B), Side("", A))
    assert batch.spoken == (text("a dog"), text("a cat"), text("a bird"))
    assert batch.queries.tolist() == [0, 1] and batch.targets.tolist() == [3, 4, 5, 2]
    assert batch.same.tolist() == [[True, False, False, False], [False, True, False, False]]


def test_what_equals_a_right_target_is_no_negative():
    first = Pair(Side("", A), text("a dog"), (text("a cat"),))
    alike = Pair(Side("", B), text("A dog."), (text("A Cat"),))  # equal to the first one's in all but form
    again = Pair(Side("", A), text("a puppy"), (text("a DOG"),))  # the first one's query, with another target
    batch = batch_of(first, alike, again)
    assert batch.same.tolist() == [
        [True, True, True, False, False, True],
        [True, True, False, False, False, True],
        [True, True, True, False, False, True],
    ]


def test_parts_read_every_side_once():
    pairs = [Pair(Side(f"{i}", A), text(f"a {i}"), (text(f"not {i}"),)) for i in range(5)]
    batch = batch_of(*pairs)
    for chunks in (1, 3, 100):
        parts = batch.parts(chunks)
        assert [words for part in parts for words in part.beside_images] == [s.text for s in batch.seen]
        assert [words for part in parts for words in part.texts] == [s.text for s in batch.spoken]
    assert len(batch.parts(100)) == 10


def test_instructions_stand_in_where_an_image_has_no_text():
    pair = Pair(Side("", A), Side("", B), (Side("mine", A), text("words")))
    found = pair.instructed(SUBSETS["NIGHTS"])
    assert found.query.text == SUBSETS["NIGHTS"].instruction
    assert found.target.text == SUBSETS["NIGHTS"].target_instruction == "Represent the given image."
    assert found.negatives == pair.negatives


# --- what a step learns ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images in MMEB's format: classified, with a text beside the image, and found by a text; negatives of both
    kinds."""
    folder = tmp_path / "mmeb"
    (folder / "images").mkdir(parents=True)
    colours = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (20, 40, 220)}
    colours |= {"white": (250, 250, 250), "black": (5, 5, 5), "yellow": (230, 220, 20)}
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(folder / "images" / f"{name}.png")
    names = list(colours)
    classified, found = [], []
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        image, wrong = f"images/{name}.png", f"images/{other}.png"
        asked = "<|image_1|>\nWhat colour?" if name == "red" else ""
        classified.append(
            {"qry": asked, "qry_image_path": image, "pos_text": name, "pos_image_path": ""}
            | {"neg_text": [f"dark {name}", other], "neg_image_path": ["", ""]}
        )
        found.append(
            {"qry": f"a {name} wall", "qry_image_path": "", "pos_text": "", "pos_image_path": image}
            | {"neg_text": "", "neg_image_path": wrong}
        )
    for subset, rows in {"SUN397": classified, "Walls": found}.items():
        (folder / f"{subset}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def pairs(folder: Path, make_backbone: Callable[[], Backbone]) -> Corpus:
    backbone, request = make_backbone(), TrainRequest((folder,), folder / "out")
    sources = sources_of(request, load_recipe("fine-tune"))
    return Corpus.load(sources, backbone.image_processor, backbone.merge, 0, lambda _: None)


def without_negatives(corpus: Corpus) -> Corpus:
    sources = [
        replace(source, pairs=tuple(replace(pair, negatives=()) for pair in source.pairs))
        for source in corpus.sources
        if isinstance(source, PairSource)
    ]
    return Corpus(sources, corpus.groups)


def gradients(stage: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in stage.named_parameters() if p.grad is not None}


def test_subsets_share_the_weight_and_have_their_instructions(pairs):
    assert [(source.name, source.weight) for source in pairs.sources] == [("SUN397", 0.5), ("Walls", 0.5)]
    texts = [pair.query.text for pair in pairs.sources[0].pairs]
    assert texts == ["What colour?", *["Identify the scene shown in the image."] * 5]


@pytest.mark.parametrize("version", ["baseline", "ssa-me"])
def test_listed_negatives_change_loss_and_gradient(make_stage, take, pairs, version):
    whole = WithPairs(make_stage(version, batch=3, data=pairs))
    alone = WithPairs(make_stage(version, batch=3, data=without_negatives(pairs)))
    for stage in (whole, alone):
        stage.of_images.temperature.log.data.fill_(0.0)  # all targets count about alike
    losses = take(whole)
    assert losses.keys() == {"loss", "nce"} and losses["loss"] == losses["nce"]
    assert losses["nce"] > take(alone)["nce"] + 0.05
    one, other = gradients(whole), gradients(alone)
    assert any((one[key] - other[key]).abs().max() > 1e-3 for key in one.keys() & other.keys())
    assert any(".lora_" in key for key in one)


@pytest.mark.parametrize("version", ["baseline", "ssa-me"])
def test_in_parts_the_gradient_is_the_same(make_stage, take, pairs, version):
    plain, cached = (WithPairs(make_stage(version, batch=4, data=pairs)) for _ in range(2))
    for step in range(2):
        torch.testing.assert_close(take(plain, step), take(cached, step, chunks=3), atol=1e-5, rtol=1e-4)
    expected, found = gradients(plain), gradients(cached)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-3, msg=lambda m, k=key: f"{k}: {m}")


def test_ssa_me_reads_images_that_are_regenerated(make_stage, take, pairs):
    stage = make_stage("ssa-me", batch=3, data=pairs)
    before = take(WithPairs(stage))["nce"]
    stage.parts.regeneration.free_floor = 1.0
    assert (take(WithPairs(stage))["nce"] - before).abs() > 1e-5
    baseline = WithPairs(make_stage("baseline", batch=3, data=pairs))
    torch.testing.assert_close(take(WithPairs(stage))["nce"], take(baseline)["nce"], atol=1e-4, rtol=0)


def test_an_image_that_cannot_be_read_leaves_its_pairs_out(folder, make_backbone):
    (folder / "images" / "red.png").write_bytes(b"no image")
    (folder / "Walls.jsonl").unlink()
    backbone, said = make_backbone(), []
    sources = sources_of(TrainRequest((folder,), folder / "out"), load_recipe("fine-tune"))
    corpus = Corpus.load(sources, backbone.image_processor, backbone.merge, 0, said.append)
    draw = corpus.pairs(1, 0, 6)
    assert len(draw.pairs) == 5 and all(pair.query.image.name != "red.png" for pair in draw.pairs)
    assert len(said) == 1 and "red.png" in said[0]


def test_both_adapters_see_the_same_pairs_at_a_step(pairs):
    assert pairs.pairs(3, 5, 4).pairs == pairs.pairs(3, 5, 4).pairs != pairs.pairs(4, 5, 4).pairs


# --- runs ------------------------------------------------------------------------------------------------------------


TINY = """
seed = 2
precision = "fp32"

[adapters]
steps = 4
batch = 4
rank = 2
warmup = 1

[composition]
steps = 3
batch = 4

[trust]
steps = 2
batch = 4
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def bare(tmp_path: Path, make_backbone: Callable[[], Backbone]) -> Path:
    """A checkpoint without adapters."""
    backbone, path = make_backbone(), tmp_path / "bare"
    for part in (backbone.model, backbone.tokenizer, backbone.image_processor):
        part.save_pretrained(path)
    return path


def test_a_run_on_pairs_and_photographs_mixes_them(folder, photographs, bare, tiny, tmp_path):
    out, weights = tmp_path / "out", {folder: 2.0, photographs: 1.0}
    request = TrainRequest((photographs, folder), out, tiny, bare, "cpu", weights=weights)
    sources = sources_of(request, load_recipe(tiny))
    assert [(s.name, s.weight) for s in sources] == [("photographs", 1.0), ("SUN397", 1.0), ("Walls", 1.0)]
    corpus = Corpus(sources, [[0]] * 3)
    assert {corpus.source(2, step) for step in range(4)} == {0, 1, 2}  # the run's steps draw of each
    assert run(request, lambda _: None)["finished"]
    log = [json.loads(line) for line in (out / "training/log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in log] == [
        ("baseline", 4),
        ("ssa-me", 4),
        ("composition", 3),  # of photographs alone: in images of pairs nothing is named
        ("trust", 2),
    ]
    for name in ("baseline/adapter_model.safetensors", "ssa-me/adapter_model.safetensors"):
        assert (out / name).is_file()
    assert "6 pairs of SUN397" in json.loads((out / "ssa-me" / "ssa_me.json").read_text())["description"]


def test_the_command_trains_on_pairs_alone(folder, bare, tiny, tmp_path, capsys):
    from ssa_me.cli import main

    arguments = ["train", "--data", str(folder), "--recipe", str(tiny), "--checkpoint", str(bare)]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--device", "cpu", "--max-steps", "1"]) == 0
    assert "the salience head stays as it is" in capsys.readouterr().err
    log = [json.loads(line) for line in (tmp_path / "out/training/log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in log] == ["baseline", "ssa-me"]  # and nothing is composed
    assert all(line["nce"] > 0 for line in log) and "attention" not in log[1]


def test_the_base_stage_needs_images_with_texts(folder, bare, tmp_path):
    recipe = tmp_path / "base.toml"
    recipe.write_text(TINY + "\n[base]\nsteps = 1\n")
    with pytest.raises(InputError, match="no image with a caption or a subject"):
        run(TrainRequest((folder,), tmp_path / "out", recipe, bare, "cpu"), lambda _: None)
