"""What a training step computes: which parts learn, what the losses are made of, and that they fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ssa_me.training.adapter_stages import TokenCache
from ssa_me.training.batches import Batch
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.data import Corpus, Prepared, general, stack_pixels
from ssa_me.training.gradcache import Losses, detached, total
from ssa_me.training.loop import Stage, fit
from ssa_me.training.named import Named
from ssa_me.training.recipe import Regeneration, Schedule, Weights
from ssa_me.training.sources import FolderSource
from ssa_me.training.stages import Temperature, claim_contrast, phrase_contrast

CPU = torch.device("cpu")


def learning(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


# --- pieces ----------------------------------------------------------------------------------------------------------


def test_the_temperature_stays_between_a_hundredth_and_one():
    assert Temperature(0.07)().item() == pytest.approx(0.07)
    temperature = Temperature(0.5)
    temperature.log.data.fill_(-20)
    assert temperature().item() == pytest.approx(0.01)
    temperature.log.data.fill_(3)
    assert temperature().item() == 1


def test_cached_tokens_are_the_vision_pass_in_sixteen_bits(make_backbone, corpus):
    backbone = make_backbone()
    cache, draw = TokenCache.of(corpus, backbone, batch=4), corpus.draw(1, 0, 4)
    with torch.no_grad():
        direct = backbone.encode_pixels(*stack_pixels(corpus.items(draw)))
    cached = cache.groups[draw.source].select(draw.indices).to(torch.float32)
    assert cached.tokens.dtype == torch.float32 and cache.groups[0].tokens.dtype == torch.bfloat16
    torch.testing.assert_close(cached.tokens, direct.tokens, atol=0.02, rtol=0.02)
    assert torch.equal(cached.valid, direct.valid) and torch.equal(cached.grid, direct.grid)
    np.testing.assert_array_equal(cached.boxes, direct.boxes)


def item(coverage: list[list[float]], phrases: tuple[str, ...], tokens: int = 3) -> Prepared:
    covered = np.array(coverage, np.float16).reshape(len(phrases), tokens)
    return Prepared(np.zeros((tokens, 4), np.float16), (1, 1, tokens), (32, 32), ("x",), phrases, covered)


def four_items() -> list[Prepared]:
    return [
        item([[1.0, 0.5, 0.0], [0.0, 0.7, 0.2], [0.0, 0.04, 0.0]], ("a red dog", "a cat", "a speck")),
        item([], ()),
        item([[0.0, 0.0, 1.0]], ("a red dog",)),
        item([[0.5, 0.5], [1.0, 0.0]], ("a blue dog", "a red dog"), tokens=2),
    ]


def test_what_is_named_in_a_batch_by_hand():
    named = Named.of(four_items(), CPU)
    # the speck covers too little to be seen
    assert named.phrases == ("a red dog", "a cat", "a red dog", "a blue dog", "a red dog")
    assert not any(named.ground)  # of no image is it known where it is
    assert named.images == [0, 0, 2, 3, 3] and named.number == (0, 1, 0, 0, 1)
    assert named.distinct == ["a red dog", "a cat", "a blue dog"] and named.place.tolist() == [0, 1, 0, 2, 0]
    assert named.same()[0].tolist() == [True, False, True, False, True]
    torch.testing.assert_close(named.regions[3], torch.tensor([0.5, 0.5, 0.0]))
    everything = named.of_each_image(4)
    expected = [[1.0, 0.7, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.5, 0.0]]
    torch.testing.assert_close(everything, torch.tensor(expected), atol=1e-3, rtol=0)


def test_what_surrounds_the_subjects_is_named_by_the_setting():
    first, nothing, filled, small = four_items()
    items = [
        replace(first, setting="in the snow"),
        replace(nothing, setting="on the beach"),
        filled,
        replace(small, setting="in the snow"),
    ]
    items.append(replace(item([[1.0, 1.0, 0.97]], ("a bus",)), setting="in the park"))
    named = Named.of(items, CPU)
    assert named.phrases == (
        *("a red dog", "a cat", "in the snow"),
        "on the beach",
        "a red dog",
        *("a blue dog", "a red dog", "in the snow"),
        "a bus",  # which leaves too little of the park to be seen
    )
    assert named.images == [0, 0, 0, 1, 2, 3, 3, 3, 4] and named.number == (0, 1, 3, 0, 0, 0, 1, 2, 0)
    assert [row for row, ground in enumerate(named.ground) if ground] == [2, 3, 7]
    # 1 less the most that a subject, the speck too, covers of each token; a smaller image has no third one
    expected = [[0.0, 0.3, 0.8], [1.0, 1.0, 1.0], [0.0, 0.5, 0.0]]
    torch.testing.assert_close(named.regions[[2, 3, 7]], torch.tensor(expected), atol=1e-3, rtol=0)
    everything = [[1.0, 0.7, 0.2], [0.0] * 3, [0.0, 0.0, 1.0], [1.0, 0.5, 0.0], [1.0, 1.0, 0.97]]
    torch.testing.assert_close(named.of_each_image(5), torch.tensor(everything), atol=1e-3, rtol=0)
    some = named.select(range(3, 5), 2)
    assert some.ground == (False, False, True, False)
    assert some.regions[2].tolist() == [0.0, 0.5]


def test_what_is_named_in_some_images_is_numbered_anew():
    named = Named.of(four_items(), CPU)
    assert [named.rows_of(images) for images in (range(2), range(1, 2), range(2, 4))] == [
        range(2),
        range(2, 2),
        range(2, 5),
    ]
    some = named.select(range(3, 4), 2)
    assert some.phrases == ("a blue dog", "a red dog") and some.images == [0, 0]
    assert some.regions.tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_a_batch_in_which_nothing_is_named():
    named = Named.of([item([], ()), item([], ())], CPU)
    assert named.phrases == () and named.regions.shape == (0, 3) and named.same().shape == (0, 0)
    assert torch.equal(named.of_each_image(2), torch.zeros(2, 3))


def test_parts_hold_every_image_phrase_and_question_once(make_stage):
    batch = make_stage("ssa-me").batch(0).batch
    parts = batch.parts(3)
    assert [b for part in parts for b in part.images] == list(range(8))
    assert [text for part in parts for text in part.captions] == list(batch.draw.texts)
    assert [phrase for part in parts for phrase in part.phrases] == batch.named.distinct
    assert [phrase for part in parts for phrase in part.named.phrases] == list(batch.named.phrases)
    assert [text for part in parts for text in part.questions.texts] == list(batch.questions.texts)
    assert [c for part in parts for c in part.claims.captions] == list(batch.claims.captions)
    assert [c for part in parts for c in part.phrase_claims.texts] == list(batch.phrase_claims.texts)
    assert [b + part.images.start for part in parts for b in part.claims.images] == list(batch.claims.images)
    for part in parts:
        for row, image in zip(part.questions.rows.tolist(), part.questions.images, strict=True):
            assert part.named.images[row] == image
    assert [len(batch.parts(chunks)) for chunks in (1, 8, 100)] == [1, 8, 8]
    assert [batch.parts(chunks)[0].bucket for chunks in (1, 2, 8)] == [48, 24, 8]


def test_what_is_claimed_of_images():
    texts = [str(b) for b in range(400)]
    claims = Claims.of(texts, 4, 0.5, np.random.default_rng(0))
    assert len(claims) == 200 and list(claims.images) == sorted(set(claims.images))
    assert claims.texts == tuple(texts[c] for c in claims.captions)
    own = sum(b == c for b, c in zip(claims.images, claims.captions, strict=True))
    near = sum(b // 4 == c // 4 for b, c in zip(claims.images, claims.captions, strict=True))
    assert 0.25 < own / 200 < 0.5 and 0.65 < near / 200 < 0.85 and near < 200
    assert len(Claims.of(texts, 1, 0.0, np.random.default_rng(0))) == 0


def test_a_claim_is_read_as_what_is_true_by_hand(make_stage):
    """Image 1 is told caption 0, which is true of it too; image 2 is told caption 0, which is not."""
    whole = make_stage("baseline").batch(0)
    true = torch.eye(3, dtype=torch.bool)
    true[0, 1] = True

    class Told:
        claims = Claims((1, 2), (0, 0), ("", ""))

        def same(self):
            return true

    texts = torch.eye(3)
    read = torch.tensor([[0.5, 0.2, 0.1], [0.3, 0.4, 0.6]])
    first = -torch.log_softmax(torch.tensor([0.5, 0.1]), 0)[0]  # caption 1 is true of image 1: no negative
    second = -torch.log_softmax(torch.tensor([0.3, 0.4, 0.6]), 0)[2]
    found = claim_contrast(read, texts, Told(), torch.tensor(1.0))
    torch.testing.assert_close(found, (first + second) / 2)
    assert len(whole.claims) == len(whole) // 2


PHRASES = (
    "a red dog",
    "a blue cat",
    "a blue dog",
    "a red cat",
    "a man in red",
    "a tall tree",
    "a woman in red",
)
"""Of the four images of a family, and one of another: image 0 has the first two, 1 the next two, then one each."""


def named_phrases() -> Named:
    image = torch.tensor([0, 0, 1, 1, 2, 3, 4])
    return Named(PHRASES, image, (0, 1, 0, 1, 0, 0, 0), torch.ones(7, 1), (False,) * 7)


def test_phrases_claimed_of_images():
    named, kinds = named_phrases(), {"own": 0, "near": 0, "far": 0}
    for seed in range(200):
        claims = PhraseClaims.of(named, 4, 5, np.random.default_rng(seed))
        assert claims.images == (0, 1, 2, 3, 4)
        for image, text, right, wrong in zip(
            claims.images, claims.texts, claims.right, claims.wrong, strict=True
        ):
            own = {p for p, b in zip(PHRASES, named.images, strict=True) if b == image}
            true = {p for p in PHRASES if general(p) in {general(o) for o in own}}
            found = {p for p, is_right in zip(PHRASES, right.tolist(), strict=True) if is_right}
            assert {p for p, is_wrong in zip(PHRASES, wrong.tolist(), strict=True) if is_wrong} == {
                *PHRASES
            } - true
            if text in true:
                assert found == {text}  # in words of its own: a man in red is a person in red
            elif image in (0, 1) and text.endswith(("dog", "cat")):
                (answer,) = found  # what the image has of that kind
                assert answer in own and answer.split()[-1] == text.split()[-1] and answer != text
            else:
                assert found == own
            home = next(b for p, b in zip(PHRASES, named.images, strict=True) if p == text)
            kinds["own" if text in own else "near" if home // 4 == image // 4 else "far"] += 1
    assert min(kinds.values()) > 100
    alone = Named(PHRASES[:1], torch.tensor([0]), (0,), torch.ones(1, 1), (False,))
    only = PhraseClaims.of(alone, 1, 3, np.random.default_rng(0))
    assert only.texts == PHRASES[:1] and only.right.all() and not only.wrong.any()
    assert len(PhraseClaims.of(named, 4, 2, np.random.default_rng(0))) == 2
    part = PhraseClaims.of(named, 4, 5, np.random.default_rng(0)).select(range(2, 4))
    assert part.images == (0, 1) and part.right.shape == (2, 7)


def test_a_claimed_phrase_is_read_as_one_that_is_right_by_hand():
    """Two phrases are right for the first reading; of the second the fourth is neither right nor wrong."""
    right = torch.tensor([[True, True, False, False], [False, False, True, False]])
    wrong = torch.tensor([[False, False, True, True], [True, True, False, False]])
    claims = PhraseClaims((0, 1), ("", ""), right, wrong)
    read = torch.tensor([[0.5, 0.2, 0.1, -0.3], [0.3, 0.4, 0.6, 0.9]])
    first = -torch.log(torch.softmax(read[0] / 0.5, 0)[:2].sum())
    second = -torch.log_softmax(read[1, :3] / 0.5, 0)[2]
    found = phrase_contrast(read, torch.eye(4), claims, torch.tensor(0.5))
    torch.testing.assert_close(found, (first + second) / 2)
    nothing_wrong = replace(claims, wrong=torch.zeros_like(wrong), right=torch.ones_like(right))
    assert phrase_contrast(read, torch.eye(4), nothing_wrong, torch.tensor(0.5)) == 0


# --- what learns -----------------------------------------------------------------------------------------------------


def test_in_the_base_stage_everything_learns(make_stage, take):
    stage = make_stage("base")
    losses = take(stage)
    assert losses.keys() == {"loss", "nce", "region", "composed", "claimed", "claimed_phrase", "answer"}
    settings = stage.settings
    total = losses["nce"] + settings.region * losses["region"] + settings.composed * losses["composed"]
    total = total + settings.claimed * (losses["claimed"] + losses["claimed_phrase"])
    assert losses["loss"].item() == pytest.approx(
        (total + settings.answer * losses["answer"]).item(), rel=1e-5
    )
    assert {name for name, _ in stage.named_parameters()} == learning(stage)


def test_a_step_is_a_function_of_its_number(make_stage, take):
    stage = make_stage("base", batch=4)
    first, second, again = take(stage, 0), take(stage, 1), take(stage, 0)
    assert torch.equal(first["loss"], again["loss"]) and not torch.equal(first["loss"], second["loss"])


def test_the_baseline_learns_by_contrast_alone_and_in_its_adapter_alone(make_stage, take):
    stage = make_stage("baseline")
    losses = take(stage)
    assert losses.keys() == {"loss", "nce", "composed", "claimed", "claimed_phrase"}
    told = losses["nce"] + 0.5 * (losses["composed"] + losses["claimed"] + losses["claimed_phrase"])
    assert losses["loss"].item() == pytest.approx(told.item(), rel=1e-5)
    moved = learning(stage)
    assert "temperature.log" in moved
    assert all(".baseline." in name for name in moved - {"temperature.log"})


def test_ssa_me_learns_in_adapter_and_parts_with_all_objectives(make_stage, take):
    weights = Weights(attention=0.1, subject=0.2, misalignment=0.3, head=0.4)
    stage = make_stage("ssa-me", weights=weights)
    losses = take(stage)
    shares = {
        "nce": 1.0,
        "composed": 0.5,
        "claimed": 0.5,
        "claimed_phrase": 0.5,
        "attention": 0.1,
        "asked_attention": 0.1,
        "subject": 0.2,
        "misalignment": 0.3,
        "head": 0.4,
        "named_head": 0.4,
    }
    assert losses.keys() == {"loss", *shares} and all(losses[name] > 0 for name in shares)
    assert losses["loss"].item() == pytest.approx(
        sum(s * losses[n].item() for n, s in shares.items()), rel=1e-5
    )
    moved = learning(stage)
    assert {"temperature.log", "subject_temperature.log", "parts.regeneration.gate"} <= moved
    assert any(name.startswith("parts.head.") for name in moved)
    trained = {name for name, p in stage.named_parameters() if p.requires_grad}  # the rest is a later stage's
    for names in (moved, trained):
        composed = {name for name in names if name.startswith("parts.composition.")}
        assert composed and all(name.startswith("parts.composition.seen.") for name in composed)
    assert all(".ssa-me." in name for name in moved if name.startswith("model."))


@pytest.mark.parametrize("objective", ["attention", "subject", "misalignment", "head"])
def test_an_objective_without_weight_gives_no_gradient(make_stage, take, objective):
    whole, without = make_stage("ssa-me"), make_stage("ssa-me", weights=Weights(**{objective: 0.0}))
    assert take(whole)["loss"] > take(without)["loss"]
    moved = [learning(stage) for stage in (whole, without)]
    assert any(name.startswith("parts.head.") for name in moved[1]) == (objective != "head")
    assert moved[1] <= moved[0]


def test_salience_learns_from_the_contrast_alone_where_it_is_implicit(make_stage, take):
    no_regions = Weights(attention=0, subject=0, misalignment=0, head=0)
    stage = make_stage("ssa-me", weights=no_regions, steps=Regeneration(implicit=True))
    losses = take(stage)
    told = losses["nce"] + 0.5 * (losses["composed"] + losses["claimed"] + losses["claimed_phrase"])
    assert losses["loss"].item() == pytest.approx(told.item(), rel=1e-6)  # what regions say weighs nothing
    assert {"parts.head.token.weight", "parts.head.out.weight"} <= learning(stage)
    explicit = make_stage("ssa-me", weights=no_regions)
    take(explicit)
    assert not {name for name in learning(explicit) if name.startswith("parts.head")}


@pytest.mark.parametrize("enhance", [True, False])
def test_the_gate_of_enhancement_stays_at_nought_where_it_is_off(make_stage, make_run, enhance):
    stage = make_stage("ssa-me", steps=Regeneration(enhance=enhance))
    assert fit("ssa-me", stage, Schedule(steps=2, batch=8, warmup=1), make_run(), resume=False)
    assert bool(stage.parts.regeneration.gate.any()) == enhance


def test_both_stages_start_from_the_same_contrast_where_nothing_is_suppressed(make_stage, take):
    stage = make_stage("ssa-me")
    stage.parts.regeneration.free_floor = 1.0
    torch.testing.assert_close(
        take(stage, 3)["nce"], take(make_stage("baseline"), 3)["nce"], atol=1e-4, rtol=0
    )


def plain_corpus(corpus: Corpus, phrases: bool) -> Corpus:
    """The corpus as photographs: without subjects, or with those of the first image alone."""
    group = [
        Prepared(
            p.pixels,
            p.grid,
            p.size,
            p.texts,
            p.phrases if keep else (),
            p.coverage if keep else p.coverage[:0],
        )
        for i, p in enumerate(corpus.groups[0])
        for keep in (phrases and i == 0,)
    ]
    return Corpus([FolderSource((), "photographs")], [group])


@pytest.mark.parametrize("chunks", [None, 3])
def test_images_without_subjects_train_by_contrast_alone(make_stage, take, corpus, chunks):
    stage = make_stage("ssa-me", data=plain_corpus(corpus, phrases=False))
    losses = take(stage, chunks=chunks)
    assert losses["attention"] == 0 and losses["head"] == 0 and "subject" not in losses
    told = losses["nce"] + 0.5 * losses["claimed"]
    assert losses["loss"].item() == pytest.approx(told.item())
    assert not any(name.startswith("parts.head.") for name in learning(stage))


def test_images_without_annotations_are_no_evidence_of_darkness(make_stage, take, corpus):
    mixed = plain_corpus(corpus, phrases=True)
    stage = make_stage("ssa-me", weights=Weights(phrase_share=0.0), data=mixed)
    losses = take(stage)
    assert losses["head"] > 0 and losses["loss"].isfinite()
    assert sorted(mixed.draw(7, 0, 8).indices) == list(range(8))
    tokens = stage.material.cache.groups[0].tokens
    tokens[1:] *= -1  # what the head says of the others is not asked for
    torch.testing.assert_close(take(stage)["head"], losses["head"])
    tokens[0] *= -1
    assert (take(stage)["head"] - losses["head"]).abs() > 1e-4


# --- hard negatives --------------------------------------------------------------------------------------------------


def without_twins(corpus: Corpus) -> Corpus:
    """The same scenes, their twins left out."""
    source = replace(corpus.sources[0], group=1)
    return Corpus([source], [corpus.groups[0][:: corpus.sources[0].group]])


@pytest.mark.parametrize("name", ["base", "baseline", "ssa-me"])
def test_twins_are_negatives_that_count(make_stage, take, corpus, name):
    """The same two scenes, with and without their twins: without them the contrast is easier, and its gradient another."""
    whole, alone = make_stage(name), make_stage(name, data=without_twins(corpus))
    drawn = whole.batch(0)
    batch = drawn if isinstance(drawn, Batch) else drawn.batch
    same = batch.same()
    assert (
        not same[0, 1:4].all() and batch.group == 4
    )  # twins stand beside their scene and are not all true of its words
    assert take(whole)["nce"] > take(alone)["nce"] + 0.1
    one, other = (
        {n: p.grad for n, p in stage.named_parameters() if p.grad is not None} for stage in (whole, alone)
    )
    assert any((one[key] - other[key]).abs().max() > 1e-3 for key in one.keys() & other.keys())


# --- in parts --------------------------------------------------------------------------------------------------------


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def graph_of_all_parts(stage: Stage, step: int, chunks: int) -> Losses:
    """The reference with dropout: all parts' graphs at once, no cache."""
    whole = stage.batch(step)
    parts = stage.cut(whole, chunks)
    pieces = [stage.represent(part) for part in parts]
    rows = {name: torch.cat([piece[0][name] for piece in pieces]) for name in pieces[0][0]}
    compared = stage.compare(whole, rows)
    beside = [stage.beside(part, piece[1], detached(rows)) for part, piece in zip(parts, pieces, strict=True)]
    losses = total([compared, *beside])
    losses["loss"].backward()
    return detached(losses)


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("name", "chunks"), [("base", 3), ("baseline", 2), ("ssa-me", 3), ("ssa-me", 8)])
def test_gradcache_is_the_plain_batchs_gradient(make_stage, take, name, chunks):
    plain, cached = make_stage(name), make_stage(name)
    assert_close(take(plain), take(cached, chunks=chunks))
    assert_close(gradients(plain), gradients(cached))


@pytest.mark.parametrize("name", ["baseline", "ssa-me"])
def test_gradcache_replays_dropout(make_stage, take, name):
    plain, cached, other = (make_stage(name, dropout=0.2).train() for _ in range(3))
    torch.manual_seed(5)
    expected = graph_of_all_parts(plain, 0, 3)
    torch.manual_seed(5)
    assert_close(expected, take(cached, chunks=3))
    assert_close(gradients(plain), gradients(cached))
    torch.manual_seed(6)
    assert (take(other, chunks=3)["nce"] - expected["nce"]).abs() > 1e-4  # dropout does something


# --- losses fall -----------------------------------------------------------------------------------------------------


def losses_of(stage: Stage, schedule: Schedule, make_run: Callable, take: Callable) -> list[dict[str, float]]:
    """The losses of a fixed step before and after training."""

    def measured() -> dict[str, float]:
        return {key: value.item() for key, value in take(stage).items()}

    before = measured()
    stage.zero_grad()
    assert fit("stage", stage, schedule, make_run(), False)
    return [before, measured()]


def test_the_base_stage_overfits_eight_images(make_stage, make_run, take):
    schedule = Schedule(steps=36, batch=8, learning_rate=6e-3, warmup=5)
    before, after = losses_of(make_stage("base"), schedule, make_run, take)
    for name, share in {"nce": 0.7, "answer": 0.75, "region": 0.5}.items():
        assert after[name] < share * before[name], name


def test_the_baseline_overfits_eight_images(make_stage, make_run, take):
    schedule = Schedule(steps=40, batch=8, learning_rate=2e-2, warmup=5)
    before, after = losses_of(make_stage("baseline"), schedule, make_run, take)
    assert after["nce"] < 0.9 * before["nce"]


def test_ssa_me_overfits_eight_images_in_every_part(make_stage, make_run, take):
    schedule = Schedule(steps=25, batch=8, learning_rate=2e-2, warmup=5)
    before, after = losses_of(make_stage("ssa-me"), schedule, make_run, take)
    for name, share in {"loss": 0.8, "nce": 0.95, "head": 0.9, "subject": 0.8}.items():
        assert after[name] < share * before[name], name
