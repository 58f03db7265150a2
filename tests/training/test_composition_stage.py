"""What is composed of subjects: what each loss teaches, that the frozen model reads all once, and relations by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.passes import look
from ssa_me.salience.relations import WAYS
from ssa_me.scenes import Facts
from ssa_me.training.adapter_stages import Material, TokenCache
from ssa_me.training.batches import Batch
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.composition_stage import CompositionStage, _pairs, _told, shown_by
from ssa_me.training.data import Corpus, Draw, Prepared
from ssa_me.training.loop import fit
from ssa_me.training.named import Named, Questions, less_than
from ssa_me.training.recipe import Lora, Schedule
from ssa_me.training.sources import FolderSource, PairSource, SceneSource

CPU = torch.device("cpu")
CODES = ("composition.bind_subject.", "composition.bind_phrase.")


def learning(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float = 1e-6) -> None:
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], atol=atol, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


# --- what learns -----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_its_parts(make_stage, take):
    losses = take(make_stage("composition"))
    assert losses.keys() == {"loss", "bind", "bind_answer", "bind_name", "relation"}
    assert all(losses[name] > 0 for name in losses)
    parts = losses["bind"] + losses["bind_answer"] + losses["bind_name"] + losses["relation"]
    assert losses["loss"].item() == pytest.approx(parts.item(), rel=1e-6)


def test_codes_and_relations_learn_and_nothing_else(make_stage, make_run, take):
    stage = make_stage("composition")
    take(stage)
    assert learning(stage) == {name for name, p in stage.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in learning(stage)} == {"bind_subject", "bind_phrase", "relate"}
    stage.zero_grad()
    salient = stage.memory.stage
    before = weights(salient)
    assert fit("composition", stage, Schedule(steps=2, batch=8, warmup=0), make_run(), resume=False)
    moved = {name for name, value in weights(salient).items() if not torch.equal(value, before[name])}
    assert {f"parts.{name}" for name in learning_of(stage)} <= moved
    assert {name.split(".")[2] for name in moved} == {"bind_subject", "bind_phrase", "relate"}


def learning_of(stage: CompositionStage) -> set[str]:
    return {name for name, p in stage.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("loss", "taught"),
    [
        ("bind", {"bind_subject", "bind_phrase"}),
        ("bind_answer", {"bind_phrase"}),
        ("bind_name", {"bind_phrase"}),
        ("relation", {"relate"}),
    ],
)
def test_each_loss_teaches_its_own_networks(make_stage, monkeypatch, loss, taught):
    monkeypatch.setattr(
        "ssa_me.training.composition_stage.weighted", lambda losses, *_: losses | {"loss": torch.zeros(())}
    )
    stage = make_stage("composition")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    rows, _ = stage.represent(part)
    stage.compare(whole, rows)[loss].backward()
    moved = {name.split(".")[1] for name in learning(stage) if name.startswith("composition.")}
    assert moved == taught


def without_facts(corpus: Corpus) -> Corpus:
    """The corpus as photographs: regions and phrases, and nothing known of relations or settings."""
    group = [replace(p, about=(), meanings=(), facts=None, setting="") for p in corpus.groups[0]]
    return Corpus([FolderSource((), "photographs")], [group])


def without_subjects(corpus: Corpus) -> Corpus:
    (group,) = without_facts(corpus).groups
    return Corpus(
        [FolderSource((), "photographs")],
        [[replace(p, phrases=(), coverage=p.coverage[:0]) for p in group]],
    )


@pytest.mark.parametrize("chunks", [None, 3])
def test_photographs_teach_no_relation_and_without_regions_no_code(make_stage, take, corpus, chunks):
    stage = make_stage("composition", data=without_facts(corpus))
    losses = take(stage, chunks=chunks)
    assert losses.keys() == {"loss", "bind", "bind_answer", "bind_name"}
    parts = losses["bind"] + losses["bind_answer"] + losses["bind_name"]
    assert losses["loss"].item() == pytest.approx(parts.item(), rel=1e-6)
    alone = make_stage("composition", data=without_subjects(corpus))
    losses = take(alone, chunks=chunks)
    assert losses.keys() == {"loss"} and losses["loss"] == 0
    assert not learning(alone)


def test_the_composition_overfits_eight_images(make_stage, make_run, take):
    stage = make_stage("composition")
    before = take(stage)
    stage.zero_grad()
    schedule = Schedule(steps=40, batch=8, learning_rate=1e-2, warmup=5)
    assert fit("composition", stage, schedule, make_run(), resume=False)
    after = take(stage)
    for name, share in {"bind": 0.75, "bind_answer": 0.9, "relation": 0.6}.items():
        assert after[name] < share * before[name], name


def test_what_is_called_by_less_is_bound_to_all_that_it_may_mean(make_stage):
    """Each shorter name to the code of its own subject, with all others that it may mean not counted as wrong."""
    stage = make_stage("composition")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    rows, _ = stage.represent(part)
    named = whole.batch.named
    less = [r for r, name in enumerate(whole.called) if name != named.phrases[r]]
    assert 0 < len(less) < len(named)
    subjects = rows["subjects"].detach()[:, 0]
    expected = []
    for r in less:
        name = whole.called[r]
        wrong = [t for t, own in enumerate(named.phrases) if name not in (own, *less_than(own))]
        scores = subjects @ rows["called"][r]
        assert r not in wrong and 0 < len(wrong) < len(named)
        far = [0.0] * 8 + sorted(scores[wrong].abs().tolist())  # where fewer than 8 are wrong
        expected.append((1 - scores[r].item()) ** 2 + 2 * np.mean(far[-8:]))
    assert stage.compare(whole, rows)["bind_name"].item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_without_rewording_nothing_is_called_by_less(make_stage, take):
    stage = make_stage("composition")
    stage.settings = replace(stage.settings, reworded=0.0)
    assert stage.batch(0).called == stage.batch(0).batch.named.phrases
    assert "bind_name" not in take(stage)


# --- read once -------------------------------------------------------------------------------------------------------


def test_each_image_and_each_text_is_read_once(make_stage, take, monkeypatch):
    stage = make_stage("composition", batch=4)  # one of the two scenes with its twins a step
    salient = stage.memory.stage
    alone, say, read = salient.alone, salient.say, salient.read
    looked: Counter[bytes] = Counter()
    asked: Counter[bytes] = Counter()
    spoken: Counter[str] = Counter()

    def counted_alone(visual):
        looked.update(tokens.numpy().tobytes() for tokens in visual.tokens)
        return alone(visual)

    def counted_say(texts, bucket):
        spoken.update(texts)
        return say(texts, bucket)

    def counted_read(texts, visual):
        asked.update(tokens.numpy().tobytes() for tokens in visual.tokens)
        return read(texts, visual)

    monkeypatch.setattr(salient, "alone", counted_alone)
    monkeypatch.setattr(salient, "read", counted_read)
    monkeypatch.setattr(salient, "say", counted_say)
    drawn = {stage.batch(step).batch.draw.indices for step in range(8)}
    for step in range(8):
        take(stage, step, chunks=None if step % 2 else 3)
    assert len(drawn) == 2 and len(looked) == 8 and set(looked.values()) == {1}
    assert len(asked) > 1 and set(asked.values()) == {1}
    assert len(spoken) > 5 and set(spoken.values()) == {1}


def test_what_is_remembered_is_what_is_read_in_any_part(make_stage):
    whole, parts = make_stage("composition"), make_stage("composition")
    batch = whole.batch(0)
    (one,) = whole.cut(batch, 1)
    expected = whole.memory.images(one.some)
    found = [seen for part in parts.cut(batch, 3) for seen in parts.memory.images(part.some)]
    assert len(found) == len(expected) == 8
    for here, there in zip(found, expected, strict=True):
        assert_close(vars(here), vars(there), atol=1e-5)
    assert whole.memory.images(one.some)[0] is expected[0]


@pytest.mark.parametrize("name", ["composition", "trust"])
def test_a_stage_that_begins_later_reads_what_came_before_in_the_same_order(make_stage, take, name):
    straight, late = make_stage(name, batch=4), make_stage(name, batch=4)
    for step in range(4):
        take(straight, step)
    take(late, 3)
    images = [vars(stage.memory)["_images"] for stage in (straight, late)]
    first, again = [vars(stage.memory.texts)["_known"] for stage in (straight, late)]
    assert list(images[0]) == list(images[1]) and len(images[0]) > 1
    assert list(first) == list(again) and len(first) > 1
    assert all(torch.equal(text, again[key]) for key, text in first.items())


# --- in parts, and gone on with --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["composition", "trust"])
@pytest.mark.parametrize("chunks", [2, 3, 8])
def test_in_parts_and_in_one_pass_the_gradient_is_the_same(make_stage, take, chunks, name):
    plain, cached = make_stage(name), make_stage(name)
    assert_close(take(plain), take(cached, chunks=chunks), atol=1e-5)
    assert_close(gradients(plain), gradients(cached), atol=1e-5)


def test_a_stage_that_is_gone_on_with_comes_to_the_same_weights(make_stage, gone_on_with):
    before = weights(make_stage("composition", batch=4))
    straight, stopped, again = gone_on_with("composition")
    came = weights(straight)
    assert all(torch.equal(value, came[name]) for name, value in weights(again).items())
    one, moved = weights(stopped), weights(straight)
    for name in (f"{code}0.weight" for code in CODES):
        assert (one[name] - before[name]).abs().max() > 1e-4  # it did make its first step
        assert (one[name] - moved[name]).abs().max() > 1e-3  # and that was not all


# --- relations -------------------------------------------------------------------------------------------------------


def item(coverage: list[list[float]], facts: Facts | None, setting: str = "") -> Prepared:
    phrases = tuple(f"a {colour} {kind}" for kind, colour in facts.subjects) if facts else ("a dog", "a cat")
    covered = np.array(coverage, np.float16)
    pixels = np.zeros((3, 4), np.float16)
    return Prepared(pixels, (1, 1, 3), (32, 32), ("x",), phrases, covered, facts=facts, setting=setting)


def batch_of(*items: Prepared) -> Batch:
    named, rng = Named.of(items, CPU), np.random.default_rng(0)
    draw = Draw(0, tuple(range(len(items))), ("x",) * len(items), (0,) * len(items))
    claims = Claims.of(draw.texts, 1, 0.0, rng)
    questions, phrases = Questions.of(named, 0, rng), PhraseClaims.of(named, 1, 0, rng)
    return Batch(0, draw, items, named, questions, 1, claims, phrases)


def test_relations_are_told_of_all_ordered_pairs_by_hand():
    """Left of, in front of, on: a dog on a car that is left of a man; of three subjects one is too small to be seen."""
    three = Facts(
        (("dog", "red"), ("car", "blue"), ("man", "green")),
        frozenset(
            {(0, "on", 1), (1, "left of", 2), (2, "right of", 1), (0, "left of", 2), (2, "in front of", 0)}
        ),
        "snow",
    )
    hidden = Facts(
        (("cat", "red"), ("ball", "blue"), ("bus", "green")), frozenset({(0, "in front of", 2)}), "park"
    )
    ones = [[0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.8]]
    batch = batch_of(
        item(ones, three, "in the snow"),
        item(ones[:2], None),  # a photograph: nothing is known
        item([ones[0], [0, 0, 0.01], ones[2]], hidden, "in the park"),
    )
    # rows: dog, car, man, snow; dog, cat; cat, bus, park. No ground stands in a relation.
    pairs = _pairs(batch, range(3))
    assert pairs == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (6, 7), (7, 6)]
    assert _pairs(batch, range(1, 3)) == pairs[6:]
    assert WAYS == ("left of", "in front of", "on")
    assert _told(batch).tolist() == [
        [0, 0, 1],  # dog, car
        [1, 0, 0],  # dog, man
        [0, 0, 0],
        [1, 0, 0],  # car, man
        [0, 1, 0],  # man, dog
        [0, 0, 0],  # man, car: right of is car left of man
        [0, 1, 0],  # cat, bus, by their numbers in the scene
        [0, 0, 0],
    ]


def test_the_pairs_of_a_part_are_rows_of_its_own(make_stage):
    """Relations are read from where the subjects of each pair lie, in the order of what is told of them."""
    stage = make_stage("composition")
    whole = stage.batch(0)
    parts = stage.cut(whole, 3)
    found = []
    for part in parts:
        lying = torch.cat([one.lying for one in stage.memory.images(part.some)])
        first, second = stage._ordered(part.some)
        found += [(lying[a], lying[b]) for a, b in zip(first, second, strict=True)]
    (one,) = stage.cut(whole, 1)
    lying = torch.cat([each.lying for each in stage.memory.images(one.some)])
    expected = [(lying[a], lying[b]) for a, b in _pairs(whole.batch, range(8))]
    assert len(found) == len(expected) == len(_told(whole.batch)) > 0
    for here, there in zip(found, expected, strict=True):
        torch.testing.assert_close(here, there)
    told = _told(whole.batch)
    # what is left of another thing has its centre further left, as it is annotated
    assert all(
        here[0, 0] < there[0, 0] for (here, there), ways in zip(expected, told, strict=True) if ways[0]
    )
    assert told[:, 0].any()


# --- as it is annotated, and as it is found --------------------------------------------------------------------------


def test_what_is_found_shows_what_it_shares_the_most_with_by_hand():
    named = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]])
    found = torch.tensor([[0, 0, 1.0, 0.5, 0], [1, 1, 1, 0, 0], [0.2, 0, 0, 0, 0], [0, 0, 0, 0, 0.2]])
    # the first shows the second thing: 1.5 / 2; the second the first: 2 / 3, though it shares 1 / 4 with the second;
    # the third shares .2 / 2 with the first thing, the fourth .2 / 1 with the third: too little
    assert shown_by(named, found) == {0: 1, 1: 0}
    assert shown_by(named[1:2], found) == {0: 0}
    merged = torch.tensor([[1.0, 1, 1, 1, 0]])
    assert shown_by(named, merged) == {0: 0}, "one region shows one thing"
    assert shown_by(named[:0], found) == {} and shown_by(named, found[:0]) == {}


def test_both_ways_of_seeing_are_remembered(make_stage):
    """The first is the annotated region; the second the region found that shows it, the ground as it is found, else the same."""
    stage = make_stage("composition")
    part = stage.cut(stage.batch(0), 1)[0].some
    salient, composition, named = stage.memory.stage, stage.composition, part.named
    visual = salient.material.tokens(part)
    with torch.no_grad():
        output, found = salient.alone(visual)
        regions = named.regions[:, : visual.tokens.shape[1]]
        seen = look(composition, output, visual, found)
        annotated = salient.see(replace(named, regions=regions), visual, output.hidden)
    remembered = stage.memory.images(part)
    both = torch.cat([one.named for one in remembered])
    torch.testing.assert_close(both[:, 0], annotated, atol=1e-5, rtol=0)
    kinds = Counter()
    for b, one in enumerate(remembered):
        rows = [r for r, image in enumerate(named.images) if image == b]
        showing = shown_by(regions[rows], found.stacked[b].float())
        for place, row in enumerate(rows):
            if named.ground[row]:
                kind, expected, where = "ground", seen.ground[b], one.lying[place, 0]
            elif place in showing:
                kind, k = "found", showing[place]
                expected, where = seen.subjects[b, k], seen.places[b, k]
            else:
                kind, expected, where = "lost", annotated[row], one.lying[place, 0]
            kinds[kind] += 1
            torch.testing.assert_close(one.named[place, 1], expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(one.lying[place, 1], where, atol=1e-5, rtol=0)
    assert kinds["ground"] and sum(kinds.values()) == len(named)


def test_one_question_of_each_image_always_the_same_by_hand():
    """A red dog and a blue cat in the snow, two dogs, one who has no colour: the second asks nothing clear but where."""
    snow = Facts((("dog", "red"), ("cat", "blue")), frozenset(), "snow")
    dogs = Facts((("dog", "red"), ("dog", "blue")), frozenset(), "park")
    ones = [[0.9, 0, 0], [0, 0.9, 0]]
    batch = batch_of(item(ones, snow, "in the snow"), item(ones, dogs, "in the park"), item(ones, None))
    rows = {number: Questions.one_each(batch.named, [number] * 3) for number in range(4)}
    assert rows[0].texts == ("the dog", "the place") and rows[1].texts == ("the cat", "the place")
    assert rows[2].texts == ("the place", "the place") and rows[3].texts == rows[0].texts
    assert rows[1].images == (0, 1) and rows[1].rows.tolist() == [1, 5] and rows[1].open.all()
    none = Questions.one_each(batch_of(item(ones, None)).named, [0])
    assert len(none) == 0 and none.rows.shape == (0,)


def test_answers_are_what_images_say_to_their_questions(make_stage):
    stage = make_stage("composition")
    whole = stage.batch(0)
    part = stage.cut(whole, 1)[0].some
    questions = whole.batch.questions
    assert 1 < len(questions) <= 8 and len(set(questions.images)) == len(questions)
    salient = stage.memory.stage
    with torch.no_grad():
        visual = salient.material.tokens(part).select(questions.images)
        expected = salient.read(questions.texts, visual)
    remembered = [one.answers for one in stage.memory.images(part)]
    torch.testing.assert_close(torch.cat(remembered), expected, atol=1e-5, rtol=0)
    assert [len(answer) for answer in remembered] == [int(b in questions.images) for b in range(8)]


# --- what it learns from ---------------------------------------------------------------------------------------------


@pytest.fixture
def material(make_backbone: Callable[[], Backbone]) -> Callable[..., Material]:
    """What is learned from these sources, with made-up images of 4 tokens."""

    def of(*sources: SceneSource | FolderSource | PairSource) -> Material:
        backbone = make_backbone()
        corpus = Corpus(sources, [[source.name] * 4 for source in sources])
        cache = TokenCache(tuple(f"tokens of {source.name}" for source in sources))
        return Material(backbone, corpus, cache, 7, Lora())

    return of


SCENES = SceneSource(1, 1, 64)
PHOTOGRAPHS = FolderSource((), "photographs")
PAIRS = PairSource((), (), "pairs")


def test_pairs_are_left_out_and_further_scenes_stand_for_the_own_ones(material):
    own, further = material(SCENES, PAIRS, PHOTOGRAPHS), material(SceneSource(9, 1, 64, name="further"))
    alone = own.with_scenes(None)
    assert alone.corpus.sources == (SCENES, PHOTOGRAPHS)
    assert alone.cache.groups == ("tokens of scenes", "tokens of photographs")
    found = own.with_scenes(further)
    assert found.corpus.sources == (PHOTOGRAPHS, further.corpus.sources[0])
    assert [group[0] for group in found.corpus.groups] == ["photographs", "further"]
    assert found.cache.groups == ("tokens of photographs", "tokens of further")
    assert found.backbone is own.backbone and found.seed == own.seed
    assert own.corpus.sources == (SCENES, PAIRS, PHOTOGRAPHS)  # the adapters' is as it was


def test_pairs_alone_leave_nothing_to_compose(material):
    assert not material(PAIRS).corpus.has_images() and material(PAIRS, SCENES).corpus.has_images()
    with pytest.raises(InputError, match="nothing to train on"):
        material(PAIRS).with_scenes(None)
