"""What a step is given: scenes with their twins, records of a folder, coverage of tokens, and draws without memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.salience.subjects import setting_of
from ssa_me.samples import Record, Subject, encode_mask, read_image_folder
from ssa_me.scenes import EVALUATION_SEED, SETTINGS, make_scene, plan_scene, render
from ssa_me.scenes.queries import holds
from ssa_me.scenes.twins import twin_plans
from ssa_me.training.data import Corpus, Draw, Prepared, pad_coverage, prepare, same_meaning, stack_pixels
from ssa_me.training.sources import FolderSource, Loaded, SceneSource, coloured_phrase, record_texts


def item(*texts: str, phrases: tuple[str, ...] = ()) -> Prepared:
    return Prepared(
        np.zeros((16, 4), np.float16),
        (1, 4, 4),
        (32, 32),
        texts,
        phrases,
        np.zeros((len(phrases), 4), np.float16),
    )


def folder_source(weight: float = 1.0, name: str = "photographs") -> FolderSource:
    return FolderSource((), name, weight=weight)


def record(*captions: str, subjects: tuple[Subject, ...] = ()) -> Record:
    return Record(Path("x.png"), "x.png", captions, subjects)


# --- scenes ----------------------------------------------------------------------------------------------------------


def test_a_scene_comes_before_its_twins():
    source = SceneSource(first=5, count=2, size=64)
    assert len(source) == 8 and source.group == 4
    plan = plan_scene(5, "seen")
    expected = [render(p, 64) for p in (plan, *twin_plans(plan))] + [make_scene(6, 64, "seen")]
    for index, scene in enumerate(expected):
        loaded = source.load(index)
        assert loaded.texts[: len(scene.captions)] == scene.captions
        assert len(loaded.texts) > len(scene.captions)  # and in another language
        assert len(loaded.texts) == len(loaded.meanings) == len(loaded.about) and loaded.facts == scene.facts
        assert [phrase for phrase, _ in loaded.subjects] == list(scene.phrases)
        np.testing.assert_array_equal(np.asarray(loaded.image), np.asarray(scene.image))


def test_what_a_text_is_about_are_the_subjects_that_it_names():
    loaded = SceneSource(first=5, count=1, size=64).load(0)
    for text, about in zip(loaded.texts, loaded.about, strict=True):
        for k in about:
            if text.isascii() and text in make_scene(5, 64, "seen").captions:
                assert loaded.facts.subjects[k][1] in text  # the colour


@pytest.mark.parametrize("first", [EVALUATION_SEED, EVALUATION_SEED - 9])
def test_evaluation_seeds_never_train(first):
    with pytest.raises(InputError, match="1,000,000 and more are for evaluation"):
        SceneSource(first, count=10, size=64)


def test_the_last_seed_before_evaluation_may_train():
    assert SceneSource(EVALUATION_SEED - 10, count=10, size=64).first == EVALUATION_SEED - 10


def test_sources_go_to_other_processes():
    for source in (SceneSource(1, 2, 64), FolderSource((record("a dog"),), "mine", views=2)):
        assert pickle.loads(pickle.dumps(source)) == source


# --- texts of a record -----------------------------------------------------------------------------------------------


def test_captions_are_the_texts():
    assert record_texts(record("a dog", "a brown dog", subjects=(Subject("dog"),))) == (
        "a dog",
        "a brown dog",
    )


def test_subjects_speak_where_there_is_no_caption():
    assert record_texts(record(subjects=(Subject("red box"), Subject("dog"), Subject("dog")))) == (
        "red box, dog",
    )
    assert record_texts(record()) == ()


def garment(phrase: str, colour: str, share: float, **extra: str) -> Subject:
    return Subject(phrase, extra={"auto_colour": colour, "auto_colour_frac": share} | extra)


def test_a_measured_colour_leads_the_phrase_where_it_is_most_of_it():
    assert coloured_phrase(garment("jacket", "red", 0.5)) == "red jacket"
    assert coloured_phrase(garment("jacket", "red", 0.49)) == "jacket"
    assert coloured_phrase(Subject("jacket")) == "jacket"


def test_a_person_wears_the_coloured_garments():
    subjects = (
        Subject("person"),
        garment("jacket", "red", 0.8),
        garment("trousers", "blue", 0.7),
        Subject("hat"),
    )
    assert record_texts(record(subjects=subjects)) == (
        "person, red jacket, blue trousers, hat",
        "a person in red jacket and blue trousers",
        "a person with person, red jacket, blue trousers, hat",
    )


def test_parts_of_a_subject_are_not_said():
    subjects = (Subject("person"), garment("sleeve", "red", 0.9, kind="part"))
    assert record_texts(record(subjects=subjects)) == ("person",)
    assert record_texts(record(subjects=subjects[1:])) == ()


# --- images of a folder ----------------------------------------------------------------------------------------------


def test_regions_come_from_masks_and_boxes_and_nothing_else(photographs):
    records = {r.file_name: r for r in read_image_folder(photographs)}
    source = FolderSource((records["a.png"], records["b.png"]), "photographs")
    first, second = source.load(0), source.load(1)
    assert first.texts == ("a red box", "something red") and second.texts == ("blue box",)
    ((phrase, mask),) = second.subjects
    assert phrase == "blue box" and mask[20:36, 30:54].all() and mask.sum() == 24 * 16
    unplaced = FolderSource(
        (Record(records["a.png"].path, "a.png", ("x",), (Subject("red box"),)),), "photographs"
    )
    assert unplaced.load(0).subjects == ()


def sided(tmp_path: Path, *captions: str, phrase: str = "box") -> FolderSource:
    """One photograph with a red box at its left; four views of it."""
    pixels = np.full((60, 80, 3), 90, np.uint8)
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:40, 18:36] = True
    pixels[mask] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "sided.png")
    subject = Subject(phrase, segmentation=encode_mask(mask))
    line = Record(tmp_path / "sided.png", "sided.png", captions, (subject,))
    return FolderSource((line,), "sided", views=4)


def centre(loaded: Loaded) -> float:
    ((_, mask),) = loaded.subjects
    return float(np.nonzero(mask)[1].mean()) / loaded.image.width


def test_views_keep_the_mask_on_its_subject(tmp_path):
    source = sided(tmp_path, "a box")
    assert len(source) == 4
    views = [source.load(index) for index in range(4)]
    for view in views:
        ((_, mask),) = view.subjects
        np.testing.assert_array_equal(mask, np.asarray(view.image)[..., 0] == 255)
        assert mask.sum() == 20 * 18
    mirrored = [centre(view) > 0.5 for view in views]
    assert mirrored == [False, True, False, True]
    assert views[0].image.size == (80, 60)
    assert all(0.8 * 80 - 1 <= view.image.width <= 80 for view in views) and views[2].image.width < 80


def test_a_view_is_the_same_at_every_load(tmp_path):
    source = sided(tmp_path, "a box")
    np.testing.assert_array_equal(np.asarray(source.load(3).image), np.asarray(source.load(3).image))
    assert source.load(1).image.tobytes() != source.load(3).image.tobytes()


def test_a_mirrored_view_says_nothing_of_left_and_right(tmp_path):
    captions = ("a box on the left", "a bright box", "the RIGHT side is empty", "a box")
    source = sided(tmp_path, *captions)
    assert source.load(0).texts == captions and source.load(2).texts == captions
    assert source.load(1).texts == ("a bright box", "a box")


def test_an_image_is_not_mirrored_where_all_its_texts_or_phrases_speak_of_sides(tmp_path):
    view = sided(tmp_path, "a box on the left").load(1)
    assert view.texts == ("a box on the left",) and centre(view) < 0.5
    view = sided(tmp_path, "a box", phrase="left box").load(1)
    assert [phrase for phrase, _ in view.subjects] == ["left box"] and centre(view) < 0.5


def test_a_subject_that_a_crop_leaves_out_is_no_subject_of_it(tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "corner.png")
    corner = Subject("corner", bbox=(0, 0, 1, 1))
    source = FolderSource(
        (Record(tmp_path / "corner.png", "corner.png", ("a corner",), (corner,)),), "corner", views=3
    )
    assert len(source.load(0).subjects) == 1 and source.load(2).subjects == ()


# --- preparation -----------------------------------------------------------------------------------------------------


def test_coverage_is_the_share_of_each_token_by_hand(make_backbone, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    subjects = (Subject("half", bbox=(0, 0, 24, 16)), Subject("quarters", bbox=(24, 24, 16, 16)))
    source = FolderSource((Record(tmp_path / "x.png", "x.png", ("two",), subjects),), "x")
    backbone = make_backbone()
    (made,) = prepare(source, backbone.image_processor, backbone.merge, workers=0)
    expected = np.zeros((2, 4, 4))
    expected[0, 0, :2] = 1, 0.5  # tokens are 16×16 pixels
    expected[1, 1:3, 1:3] = 0.25
    np.testing.assert_allclose(made.coverage.reshape(2, 4, 4), expected)
    assert made.size == (64, 64) and made.grid[1:] == (4 * backbone.merge, 4 * backbone.merge)
    assert made.phrases == ("half", "quarters") and made.texts == ("two",)


def test_patches_are_what_the_model_would_make(make_backbone):
    backbone, source = make_backbone(), SceneSource(1, 1, 64)
    made = list(prepare(source, backbone.image_processor, backbone.merge, workers=0))
    pixels, grid, sizes = stack_pixels(made)
    expected, expected_grid = backbone.pixels([source.load(i).image for i in range(4)])
    torch.testing.assert_close(pixels, expected, atol=2e-3, rtol=0)  # 16 bits
    assert torch.equal(grid, expected_grid) and sizes == [(64, 64)] * 4
    padded = pad_coverage(made)
    assert [tuple(p.shape) for p in padded] == [(len(m.phrases), 16) for m in made]


def test_coverage_is_padded_to_the_longest_image(make_backbone, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "square.png")
    Image.new("RGB", (128, 32)).save(tmp_path / "wide.png")
    whole = (Subject("all", bbox=(0, 0, 200, 200)),)
    records = tuple(Record(tmp_path / f, f, ("x",), whole) for f in ("square.png", "wide.png"))
    backbone = make_backbone()
    made = list(prepare(FolderSource(records, "x"), backbone.image_processor, backbone.merge, workers=0))
    visual = backbone.encode_pixels(*stack_pixels(made))
    for coverage, valid in zip(pad_coverage(made), visual.valid, strict=True):
        np.testing.assert_allclose(coverage[0], valid.float(), atol=1e-3)


def test_a_text_is_found_among_the_phrases_where_there_is_none(make_backbone, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    line = Record(tmp_path / "x.png", "x.png", (), (Subject("part", (0, 0, 9, 9), extra={"kind": "part"}),))
    backbone = make_backbone()
    (made,) = prepare(FolderSource((line,), "x"), backbone.image_processor, backbone.merge, workers=0)
    assert made.texts == ("part",)
    assert made.setting == ""  # where a photograph was taken is not known


def test_the_setting_of_a_scene_is_told_as_its_texts_tell_it(corpus):
    """`setting_of` finds in texts what the ground is named by."""
    told = [(item.setting, text) for item in corpus.groups[0] for text in item.texts if item.setting in text]
    assert len(told) >= len(corpus.groups[0])
    assert all(item.setting == SETTINGS[item.facts.setting] for item in corpus.groups[0])
    assert all(setting_of(text) == setting for setting, text in told if text.endswith(setting))


# --- draws -----------------------------------------------------------------------------------------------------------


def test_a_draw_is_a_function_of_seed_and_step_alone(corpus):
    expected = [corpus.draw(3, step, 4) for step in range(6)]
    torch.manual_seed(99)
    np.random.seed(99)
    assert [corpus.draw(3, step, 4) for step in reversed(range(6))] == expected[::-1]
    again = Corpus(corpus.sources, corpus.groups)
    assert again.draw(3, 5, 4) == expected[5]
    assert len({draw.indices for draw in expected}) > 1
    assert [corpus.draw(4, step, 4) for step in range(6)] != expected


def test_twins_stand_beside_their_scene_and_no_image_comes_twice(corpus):
    for step in range(20):
        indices = corpus.draw(1, step, 8).indices
        assert len(set(indices)) == 8
        for first in (0, 4):
            assert indices[first] % 4 == 0
            assert list(indices[first : first + 4]) == list(range(indices[first], indices[first] + 4))


def test_each_text_is_one_of_its_images(corpus):
    for step in range(10):
        draw = corpus.draw(1, step, 8)
        for text, made in zip(draw.texts, corpus.items(draw), strict=True):
            assert text in made.texts


def test_a_batch_is_no_larger_than_its_source(corpus):
    assert sorted(corpus.draw(1, 0, 100).indices) == list(range(8))
    few = Corpus([folder_source()], [[item("a"), item("b"), item("c")]])
    assert sorted(few.draw(1, 0, 100).indices) == [0, 1, 2]
    assert len(few.draw(1, 0, 2).indices) == 2


def test_sources_are_drawn_by_weight():
    groups = [[item("a"), item("b")], [item("c"), item("d")], [item("e")]]
    corpus = Corpus([folder_source(3.0), folder_source(1.0), folder_source(0.0)], groups)
    drawn = np.bincount([corpus.draw(1, step, 2).source for step in range(400)], minlength=3)
    assert drawn[2] == 0 and 260 < drawn[0] < 340


def test_a_source_without_images_is_left_out():
    corpus = Corpus([folder_source(name="empty"), folder_source(name="full")], [[], [item("a"), item("b")]])
    assert [source.name for source in corpus.sources] == ["full"]
    with pytest.raises(InputError, match="nothing to train on"):
        Corpus([folder_source()], [[]])


# --- who is whose negative -------------------------------------------------------------------------------------------


def same(texts: list[str], items: list[Prepared]) -> list[list[bool]]:
    return same_meaning(Draw(0, tuple(range(len(items))), tuple(texts), (0,) * len(items)), items).tolist()


def test_a_text_is_no_negative_of_an_image_that_says_it_too():
    items = [
        item("a dog", "a brown dog"),
        item("A DOG"),
        item("a cat", phrases=("a brown dog",)),
        item("a car"),
    ]
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    assert same(["a dog", "a dog", "a cat", "a car"], items) == expected.tolist()
    # "a brown dog" is said of the first image and is a phrase of the third; the other way round nothing is known
    expected = np.eye(4, dtype=bool)
    expected[0, 2] = expected[1, 0] = True
    assert same(["a brown dog", "a dog", "a cat", "a car"], items) == expected.tolist()


def test_capitals_and_a_full_stop_do_not_matter_and_a_man_counts_as_a_person():
    people = [item("A man in red ."), item("a person in red"), item("a mango in red")]
    table = same(["A man in red .", "a person in red", "a mango in red"], people)
    assert table == [[True, True, False], [True, True, False], [False, False, True]]


def test_images_that_name_the_same_subjects_are_no_negatives_of_each_other():
    items = [
        item("one", phrases=("a red dog", "a man in blue")),
        item("two", phrases=("a person in blue", "A red dog")),
        item("three", phrases=("a red dog",)),
        item("four"),
        item("five"),  # that nothing is named in either says nothing
    ]
    table = same(["one", "two", "three", "four", "five"], items)
    expected = np.eye(5, dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    assert table == expected.tolist()


def test_of_scenes_it_is_known_exactly(corpus):
    draw = corpus.draw(1, 0, 8)
    items = corpus.items(draw)
    table = same_meaning(draw, items)
    for i, (made, number) in enumerate(zip(items, draw.chosen, strict=True)):
        assert table[i, i]
        assert table[i].tolist() == [holds(made.meanings[number], other.facts) for other in items]
