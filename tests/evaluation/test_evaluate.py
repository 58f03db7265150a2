import json

import numpy as np
import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.evaluation.evaluate import choose_split, evaluate
from ssa_me.evaluation.maps import called_by_less, region_tasks
from ssa_me.evaluation.models import parse_models
from ssa_me.samples import Record, Sample, Subject, encode_mask, write_metadata


@pytest.fixture
def data(tmp_path, paint):
    """Three images; red-blue has its left half annotated as red, its right half as blue."""
    for colour in ("red", "green"):
        paint(tmp_path / f"{colour}.png", colour)
    paint(tmp_path / "red-blue.png", "red", "blue")
    halves = (Subject("red half", bbox=(0, 0, 16, 32)), Subject("blue half", bbox=(16, 0, 16, 32)))
    write_metadata(
        tmp_path,
        [
            Record(tmp_path / "red.png", "red.png", ("red", "something red")),
            Record(tmp_path / "green.png", "green.png", ("green",)),
            Record(tmp_path / "red-blue.png", "red-blue.png", ("red and blue",), halves),
        ],
    )
    return tmp_path


def test_contract(data, embedder):
    answer = evaluate(data, embedder, parse_models("both"))
    assert set(answer) == {"data", "images", "models", "difference"}
    assert (answer["data"], answer["images"]) == (str(data), 3)
    ours, theirs = answer["models"]["ssa-me"], answer["models"]["baseline"]
    assert ours["text_to_image"] == {
        "queries": 4, "recall@1": 1.0, "recall@5": 1.0, "recall@10": 1.0, "median_rank": 1.0, "ndcg@10": 1.0,
    }  # fmt: skip
    # One vector for everything: each text finds its image at the last of three ranks.
    assert theirs["text_to_image"]["recall@1"] == 0.0
    assert theirs["text_to_image"]["median_rank"] == 3.0
    assert theirs["text_to_image"]["ndcg@10"] == pytest.approx(0.5)
    # Image to text: two of four captions belong to red.png, so its first one comes third under ties.
    assert theirs["image_to_text"]["queries"] == 3
    assert theirs["image_to_text"]["median_rank"] == 4.0
    assert ours["image_to_text"]["recall@1"] == 1.0
    gap = answer["difference"]["ssa-me - baseline"]
    assert gap["text_to_image.recall@1"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert "image_to_text.ndcg@10" in gap
    json.dumps(answer, allow_nan=False)


def test_localisation(data, embedder):
    models = evaluate(data, embedder, parse_models("both"))["models"]
    ours, theirs = models["ssa-me"]["localisation"], models["baseline"]["localisation"]
    assert ours["attention"]["regions"] == 2
    assert ours["attention"]["pointing_game"] == ours["attention"]["average_precision"] == 1.0
    assert ours["salience"]["by_size"]["large"]["regions"] == 2
    assert theirs["salience"] is None
    assert theirs["attention"] is None  # constant maps have no score
    assert ours["query_free"] is None  # both halves are as bright: constant as well


def test_parts_that_the_data_cannot_give_are_absent(data, tmp_path, embedder):
    write_metadata(
        data,
        [Record(data / "red.png", "red.png", ("red",)), Record(data / "green.png", "green.png", ("green",))],
    )
    models = evaluate(data, embedder, parse_models("ssa-me"))["models"]
    assert set(models["ssa-me"]) == {"text_to_image", "image_to_text"}
    halves = (Subject("red half", bbox=(0, 0, 16, 32)),)
    write_metadata(data, [Record(data / "red-blue.png", "red-blue.png", (), halves)])
    answer = evaluate(data, embedder, parse_models("ssa-me"))
    assert set(answer["models"]["ssa-me"]) == {"localisation"}
    assert answer["difference"] == {}
    write_metadata(data, [])
    with pytest.raises(InputError, match="neither captions nor subject regions"):
        evaluate(data, embedder, parse_models("ssa-me"))


def test_equal_captions_are_one_query_with_several_images(data, embedder, paint):
    paint(data / "red2.png", "red")
    records = [Record(data / name, name, ("red",)) for name in ("red.png", "red2.png")]
    write_metadata(data, [*records, Record(data / "green.png", "green.png", ("green",))])
    found = evaluate(data, embedder, parse_models("ssa-me"))["models"]["ssa-me"]
    assert found["text_to_image"]["queries"] == 2
    assert found["text_to_image"]["recall@1"] == 1.0
    assert found["text_to_image"]["ndcg@10"] == 1.0


def test_other_rankings(data, embedder):
    answer = evaluate(data, embedder, parse_models("ssa-me,ssa-me+subjects,ssa-me+rerank"))
    subjects, rerank = answer["models"]["ssa-me+subjects"], answer["models"]["ssa-me+rerank"]
    assert set(rerank) == {"text_to_image"}
    assert set(subjects) == {"text_to_image", "relation_swap"}
    # By subjects "red" scores red.png 1 and red-blue.png .2 * .707 + .8; conditioned on red they tie at 1.
    assert subjects["text_to_image"]["recall@1"] == 1.0
    assert rerank["text_to_image"]["recall@1"] < 1.0
    assert "text_to_image.recall@1" in answer["difference"]["ssa-me+rerank - ssa-me"]


def test_subjects_answer_what_a_caption_states(tmp_path, embedder, paint):
    """Purple as a whole is at .707 from red, orange at .787; by their halves .2 * .707 + .8 * 1 beats .787."""
    both, orange = paint(tmp_path / "both.png", "red", "blue"), paint(tmp_path / "orange.png", "orange")
    records = [Record(both, both.name, ("red",)), Record(orange, orange.name, ("red green",))]
    write_metadata(tmp_path, records)
    models = evaluate(tmp_path, embedder, parse_models("ssa-me,ssa-me+subjects"))["models"]
    assert models["ssa-me"]["text_to_image"]["recall@1"] == 0.5
    assert models["ssa-me+subjects"]["text_to_image"]["recall@1"] == 1.0


def test_swapped_relations_are_told_by_what_texts_state(data, embedder, monkeypatch):
    """A whole text does not tell who stands where; what it states, here its first word, may."""
    things = embedder._things

    def first_word(sample, own):
        return things(
            sample, embedder._vector(Sample((sample.text or "").split()[0]), None) if sample.text else own
        )

    monkeypatch.setattr(embedder, "_things", first_word)
    image = data / "red-blue.png"
    paint_half = (Subject("red", bbox=(0, 0, 16, 32)), Subject("green", bbox=(16, 0, 16, 32)))
    write_metadata(data, [Record(image, image.name, (), paint_half)])
    models = evaluate(data, embedder, parse_models("ssa-me,ssa-me+subjects"))["models"]
    assert models["ssa-me"]["relation_swap"] == {"pairs": 2, "accuracy": 0.0}
    # red is there, green is not: "red left of green" is true, and so would be "red right of green"
    assert models["ssa-me+subjects"]["relation_swap"] == {"pairs": 2, "accuracy": 0.5}


def test_corrupt_images_are_skipped_by_name(data, embedder):
    (data / "broken.png").write_bytes(b"not an image")
    answer = evaluate(data, embedder, parse_models("ssa-me"))
    assert answer["images"] == 3
    assert [skipped["name"] for skipped in answer["skipped"]] == ["broken.png"]
    assert answer["skipped"][0]["reason"]


def test_nothing_but_corrupt_images_is_bad_input(tmp_path, embedder):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"None of the 1 images can be read.*broken\.png"):
        evaluate(tmp_path, embedder, parse_models("ssa-me"))


def test_split(tmp_path):
    records = [
        Record(tmp_path / name, name, split=split)
        for name, split in (("a", "train"), ("b", "val"), ("c", "test"))
    ]
    assert choose_split(records, None) == ([records[2]], "test")
    assert choose_split(records[:2], None) == ([records[1]], "val")
    assert choose_split(records[:1], None) == (records[:1], None)
    assert choose_split(records, "all") == (records, None)
    assert choose_split(records, "train") == ([records[0]], "train")
    with pytest.raises(InputError, match=r"no split 'dev'\. It has test, train, val"):
        choose_split(records, "dev")


def test_regions_of_one_phrase_are_united_and_unsure_ones_left_out(tmp_path):
    mask = np.zeros((10, 10), dtype=bool)
    mask[9, 9] = True
    subjects = (
        Subject("dog", bbox=(0, 0, 2, 10)),
        Subject("dog", bbox=(0, 0, 10, 10), segmentation=encode_mask(mask)),
        Subject("cat", bbox=(5, 0, 1, 1)),
        Subject("bird", bbox=(0, 0, 9, 9), status="proposed"),
        Subject("fish", bbox=(0, 0, 9, 9), status="rejected"),
        Subject("unplaced"),
    )
    tasks = region_tasks(Record(tmp_path / "x.png", "x.png", (), subjects), Image.new("RGB", (10, 10)))
    assert [(task.phrase, int(task.region.sum())) for task in tasks] == [("dog", 21), ("cat", 1), (None, 22)]


def test_images_are_found_by_the_kind_alone(tmp_path, embedder, paint):
    """A red image, a blue one and one of both; a model that sees colours, and one that gives everything the same vector."""
    painted = {"x.png": ["red"], "y.png": ["blue"], "z.png": ["red", "blue"]}
    records = []
    for name, colours in painted.items():
        paint(tmp_path / name, *colours)
        subjects = tuple(Subject(f"a {colour}", bbox=(0, 0, 16, 32)) for colour in colours)
        records.append(Record(tmp_path / name, name, (), subjects))
    write_metadata(tmp_path, records)
    models = parse_models("both,ssa-me+subjects")
    found = evaluate(tmp_path, embedder, models, shorter=True)
    by_kind = {name: model["by_kind"] for name, model in found["models"].items()}
    assert by_kind["ssa-me"] == by_kind["ssa-me+subjects"] == {"queries": 4, "map": 1.0}
    last = (1 / 2 + 2 / 3) / 2  # the one wrong image stands before both right ones
    assert by_kind["baseline"] == {"queries": 4, "map": pytest.approx(last)}
    gap = {"value": pytest.approx(1 - last), "interval": [pytest.approx(1 - last)] * 2}
    assert found["difference"]["ssa-me - baseline"]["by_kind.map"] == gap
    assert "by_kind" not in evaluate(tmp_path, embedder, models)["models"]["ssa-me"]


def test_called_by_less_all_that_might_be_meant_are_one_region(tmp_path, embedder, paint):
    paint(tmp_path / "y.png", "red", "blue")
    halves = (Subject("a red", bbox=(0, 0, 16, 32)), Subject("the red", bbox=(16, 0, 16, 32)))
    write_metadata(tmp_path, [Record(tmp_path / "y.png", "y.png", (), halves)])
    for shorter, regions in ((False, 2), (True, 1)):
        found = evaluate(tmp_path, embedder, parse_models("both"), shorter=shorter)
        assert found["models"]["ssa-me"]["localisation"]["attention"]["regions"] == regions
        assert ("shorter_phrases" in found) is shorter
        assert "by_kind" not in found["models"]["ssa-me"]  # the only image shows all that is asked for
    subjects = (
        Subject("a red dog", bbox=(0, 0, 2, 10)),
        Subject("a blue dog", bbox=(5, 0, 1, 10)),
        Subject("in the snow", bbox=(9, 0, 1, 10)),
    )
    less = called_by_less(Record(tmp_path / "x.png", "x.png", ("a red dog",), subjects))
    assert less.captions == ("a red dog",)
    tasks = region_tasks(less, Image.new("RGB", (10, 10)))
    assert [(task.phrase, int(task.region.sum())) for task in tasks] == [
        ("the dog", 30), ("in the snow", 10), (None, 40),
    ]  # fmt: skip


def test_controls_are_scored_beside_and_salience_held_against_them(data, embedder):
    answer = evaluate(data, embedder, parse_models("both"), controls=True)
    held = answer["localisation"]
    assert set(held["controls"]) == {
        "chance", "centre prior", "raw attention", "gradient of baseline", "gradient of ssa-me", "OpenCV expert",
    }  # fmt: skip
    # Either half: chance points right half of the time, the bell's four top cells two of four.
    assert held["controls"]["chance"]["pointing_game"] == 0.5
    assert held["controls"]["centre prior"]["pointing_game"] == 0.5
    assert held["controls"]["gradient of ssa-me"]["pointing_game"] == 1.0
    assert held["controls"]["gradient of baseline"]["pointing_game"] == 0.0
    assert held["controls"]["raw attention"] is None  # constant
    assert held["controls"]["chance"]["by_size"]["large"]["regions"] == 2
    gap = held["difference"]["salience - gradient of baseline"]["pointing_game"]
    assert gap == {"value": 1.0, "interval": [1.0, 1.0]}
    assert held["difference"]["salience - raw attention"] == {}
    json.dumps(answer, allow_nan=False)
    assert "localisation" not in evaluate(data, embedder, parse_models("both"))


def test_maps_of_several_phrases_and_swapped_relations(data, embedder):
    answer = evaluate(data, embedder, parse_models("both"))
    ours, theirs = answer["models"]["ssa-me"], answer["models"]["baseline"]
    follows = {"images": 1, "phrases": 2, "own": 1.0, "other": 0.0, "maps_differ": 1.0, "all_own": 1.0}
    assert ours["localisation"]["conditioned"] == {"attention": follows, "salience": follows}
    still = {"images": 1, "phrases": 2, "own": 0.0, "other": 0.0, "maps_differ": 0.0, "all_own": 0.0}
    assert theirs["localisation"]["conditioned"] == {"attention": still}
    # The stand-in hears a bag of words: every swap ties, and a tie is a miss.
    assert ours["relation_swap"] == {"pairs": 2, "accuracy": 0.0}
    assert answer["difference"]["ssa-me - baseline"]["relation_swap.accuracy"]["value"] == 0.0


def test_a_set_in_one_language_says_so(data, embedder):
    records = [Record(data / "red.png", "red.png", ("red",), extra={"language": "es"})]
    write_metadata(
        data, [*records, Record(data / "green.png", "green.png", ("green",), extra={"language": "es"})]
    )
    assert evaluate(data, embedder, parse_models("ssa-me"))["language"] == "es"
