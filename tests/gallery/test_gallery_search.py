"""Search: any text, what is refused, each ranking against a computation by hand, ties, overlap, parallel requests."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssa_me.errors import InputError
from ssa_me.gallery import RANKINGS, Query, ingest, search
from ssa_me.opposed import Opposed
from ssa_me.samples import Sample
from tests.gallery.conftest import FakeEmbedded, FakeEmbedder


@pytest.fixture
def filled(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    return gallery


def _names(gallery, hits) -> list[str]:
    return [gallery.item(hit.id).file_name.removesuffix(".png") for hit in hits]


# Texts


def test_text_in_any_script_is_fine_and_broken_unicode_is_not(filled, embedder):
    for text in ("赤い服の人", "شخص باللون الأحمر", "क\u200dष", "🧑‍🦰 red", "\u202ered\x00"):
        assert search(filled, embedder, Query(text), k=2).to_json()["query"]["text"] == text
    with pytest.raises(InputError, match="not valid Unicode"):
        Query("red \ud83d")


# k and rankings


def test_k_below_1_is_refused_and_k_above_the_size_gives_all_with_a_note(filled, embedder):
    for k in (0, -3):
        with pytest.raises(InputError, match=f"k is {k}"):
            search(filled, embedder, Query("red"), k=k)
    result = search(filled, embedder, Query("red"), RANKINGS, k=50)
    assert {len(hits) for hits in result.results.values()} == {5}
    assert result.notes == ("The gallery holds 5 images, fewer than the 50 asked for: all are listed.",)
    assert search(filled, embedder, Query("red"), k=5).notes == ()


def test_a_text_longer_than_the_model_reads_is_searched_with_a_note(filled, embedder):
    assert search(filled, embedder, Query("red " * 99), k=5).notes == ()
    assert search(filled, embedder, Query("red " * 100), k=5).notes == (
        "The text is longer than the model reads; its end is left out. Shorten it.",
    )


def test_unknown_or_no_rankings_are_refused(filled, embedder):
    with pytest.raises(InputError, match=r"no ranking 'sssa-me'\. Choose from baseline, ssa-me"):
        search(filled, embedder, Query("red"), ("baseline", "sssa-me"))
    with pytest.raises(InputError, match="No ranking is given"):
        search(filled, embedder, Query("red"), ())


def test_an_empty_gallery_and_another_checkpoint_say_what_to_do(gallery, photos, embedder, make_embedder):
    with pytest.raises(InputError, match=r"empty\. Add images"):
        search(gallery, embedder, Query("red"))
    ingest(gallery, photos, embedder)
    with pytest.raises(
        InputError, match=r"no vectors of this model.*python -m ssa_me index --gallery .*--checkpoint fake-1"
    ):
        search(gallery, make_embedder("1"), Query("red"))


def test_images_without_vectors_of_this_checkpoint_are_left_out_with_a_note(
    gallery, photos, draw, make_embedder
):
    ingest(gallery, photos, make_embedder("0"))
    with pytest.raises(RuntimeError):
        ingest(gallery, photos, make_embedder("1", fails_at=1))
    draw("white").save(photos / "white.png")
    first = ingest(gallery, [("white.png", photos / "white.png")], make_embedder("1"))
    assert (first.added, first.again) == (1, 5)
    draw("yellow").save(photos / "yellow.png")
    ingest(gallery, photos, make_embedder("0"))
    result = search(gallery, make_embedder("1"), Query("red"), k=6)
    assert result.notes[0].startswith("1 of 7 images are left out: ")
    assert len(result.results["ssa-me"]) == 6


# Rankings


def test_one_vector_ranks_by_cosine(filled, embedder):
    result = search(filled, embedder, Query("red"), k=3)
    hits = result.results["baseline"]
    assert _names(filled, hits)[:2] == ["red", "red-blue"]
    assert [hit.rank for hit in hits] == [1, 2, 3]
    query = embedder.embed_query("red", None)["baseline"]
    for hit in hits:
        vector = embedder.embed([Sample(image=filled.image(hit.id))]).vectors["baseline"][0]
        assert hit.score == pytest.approx(float(vector @ query), abs=1e-6)
        assert hit.path == str(filled.item(hit.id).path)


@pytest.mark.parametrize("text", ["yellow", "yellow and blue"])
def test_subjects_mix_the_vector_with_what_the_text_states_exactly(filled, embedder, text):
    """Each of its phrases takes the subject that is nearest to it; the score has the mean of these."""
    result = search(filled, embedder, Query(text), ("ssa-me+subjects",), k=5)
    query = embedder.embed_query(text, None)["ssa-me"]
    stated = [embedder.embed_query(phrase, None)["ssa-me"] for phrase in text.split(" and ")]
    expected = {}
    for item in filled.items():
        found = embedder.embed([Sample(image=filled.image(item.id))], subjects=True)
        whole, rows = float(found.vectors["ssa-me"][0] @ query), found.subject_vectors["ssa-me"][0]
        best = [max(float(row @ said) for row in rows) for said in stated]
        expected[item.id] = 0.2 * whole + 0.8 * sum(best) / len(best)
    hits = result.results["ssa-me+subjects"]
    assert [hit.id for hit in hits] == sorted(expected, key=lambda id: (-expected[id], id))
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-6)
    assert hits[0].subject.bbox == (20, 0, 20, 30)


def test_a_text_is_answered_thing_by_thing(filled, embedder):
    """red|blue is found whatever a text names more often: each phrase is held against a half."""
    for text in ("red and blue", "red red red and blue", "blue and red red red"):
        hits = search(filled, embedder, Query(text), ("ssa-me", "ssa-me+subjects"), k=5).results
        assert _names(filled, hits["ssa-me+subjects"])[0] == "red-blue"
        assert hits["ssa-me+subjects"][0].score > 0.9
    assert _names(filled, hits["ssa-me"])[0] == "red"


@pytest.mark.parametrize("text", ["red", "red and blue", "red and blue and white -green"])
def test_subjects_are_exact_in_a_large_gallery(gallery, draw, embedder, tmp_path, text):
    folder = tmp_path / "many"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for n in range(150):
        pixels = generator.integers(0, 256, (1, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(10, 0).repeat(8, 1)).save(folder / f"{n:03d}.png")
    ingest(gallery, folder, embedder)
    few = search(gallery, embedder, Query(text), ("baseline+subjects",), k=3).results["baseline+subjects"]
    everything = search(gallery, embedder, Query(text), ("baseline+subjects",), k=150)
    assert [hit.id for hit in few] == [hit.id for hit in everything.results["baseline+subjects"][:3]]


RGB = tuple[int, int, int]
Halves = tuple[RGB, RGB]


@pytest.mark.parametrize(
    ("best", "decoy", "many"),
    [
        # reds and blues are ahead of the best in each list; the decoy, which has a red half, does not reach their bound
        (((235, 70, 0), (0, 15, 60)), ((255, 0, 0), (0, 169, 191)), ((255, 0, 60), (60, 0, 255))),
        # the best is far down by its whole and by red: blue alone, which it has next to nobody, leads to it
        (((176, 184, 0), (0, 0, 51)), ((186, 174, 0), (0, 166, 194)), ((178, 163, 76),)),
    ],
)
def test_subjects_are_exact_where_few_lists_lead_to_the_best(
    gallery, embedder, tmp_path, best: Halves, decoy: Halves, many: tuple[RGB, ...]
):
    folder = tmp_path / "many"
    folder.mkdir()

    def write(name: str, halves: Halves, n: int = 0) -> None:
        pixels = (np.array(halves)[None] * (1 - n / 500)).round().astype(np.uint8)
        Image.fromarray(pixels.repeat(10 + n, 0).repeat(8, 1)).save(folder / f"{name}.png")

    write("best", best)
    write("decoy", decoy)
    for number, colour in enumerate(many):
        for n in range(140):  # more than the first look at a list has
            write(f"{number}-{n}", (colour, colour), n)
    ingest(gallery, folder, embedder)
    for k in (1, 2):
        hits = search(gallery, embedder, Query("red and blue"), ("baseline+subjects",), k)
        names = _names(gallery, hits.results["baseline+subjects"])
        assert names == ["best", "decoy"][:k]


def test_rerank_scores_the_embedding_conditioned_on_the_text(filled, embedder):
    result = search(filled, embedder, Query("blue"), ("baseline", "baseline+rerank"), k=3)
    assert _names(filled, result.results["baseline"])[:2] == ["blue", "red-blue"]
    again = {filled.item(hit.id).file_name: hit.score for hit in result.results["baseline+rerank"]}
    assert again["red-blue.png"] == pytest.approx(again["blue.png"]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("claims", [True, False])
def test_rerank_reads_the_text_too_where_the_model_learned_to(filled, embedder, claims):
    embedder.claims = claims
    embedder.read.clear()
    search(filled, embedder, Query("blue"), ("ssa-me+rerank",), k=3)
    assert set(embedder.read) == ({"blue"} if claims else {None})


def test_rerank_asks_for_the_place_too(filled, embedder):
    """The answer is held against the setting, which is no phrase of the query."""
    embedder.claims = True
    embedder.read.clear()
    result = search(filled, embedder, Query("something blue in the snow"), ("ssa-me+rerank",), k=5)
    assert set(embedder.read) == {"something blue in the snow", "the place"}
    rows = embedder.embed([Sample("blue"), Sample("in the snow")]).vectors[
        "ssa-me"
    ]  # the snow has no colour here
    best = result.results["ssa-me+rerank"][0]
    assert filled.item(best.id).file_name == "blue.png"
    read, nothing = rows @ embedder.embed([Sample(image=filled.image(best.id))]).vectors["ssa-me"][0]
    assert best.score == pytest.approx((read + nothing) / 2, abs=1e-5)


def test_rerank_takes_in_what_is_indexed_where_subjects_have_codes(filled, embedder):
    """Half of a score is how well the reading agrees with the text, half how well the index does with what it states."""
    embedder.codes, text = True, "red and blue"
    hits = search(filled, embedder, Query(text), ("ssa-me+rerank", "baseline+rerank"), k=5).results
    stated = [embedder.embed_query(phrase, None) for phrase in ("red", "blue")]
    whole = embedder.embed_query(text, None)
    for version in ("baseline", "ssa-me"):
        for hit in hits[f"{version}+rerank"]:
            image = [Sample(image=filled.image(hit.id))]
            read = embedder.embed(image, conditioned_on=text).vectors[version][0] @ whole[version]
            rows = embedder.embed(image, subjects=True).subject_vectors[version][0]
            indexed = np.mean([max(rows @ said[version]) for said in stated])
            expected = (read + indexed) / 2 if version == "ssa-me" else read  # the baseline has no codes
            assert hit.score == pytest.approx(float(expected), abs=1e-5)
    assert _names(filled, hits["ssa-me+rerank"])[0] == "red-blue"


def test_rerank_conditions_by_the_salience_that_is_asked_for(filled, embedder):
    embedder.saliences.clear()
    search(filled, embedder, Query("red"), ("ssa-me+rerank",), k=2, salience="full")
    assert embedder.saliences[-1] == "full"
    search(filled, embedder, Query("red"), ("ssa-me+rerank",), k=2)
    assert embedder.saliences[-1] == "head"


def test_rerank_embeds_no_image_twice_and_for_both_versions_at_once(filled, embedder):
    embedder.calls.clear()
    search(filled, embedder, Query("blue"), ("baseline+rerank", "ssa-me+rerank"), k=3)
    assert [(count, phrase) for count, phrase in embedder.calls if phrase] == [(5, "blue")]


def test_rerank_keeps_what_it_cannot_open_and_what_lies_behind(gallery, draw, embedder, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(25):
        draw("red", "blue", dot=n).save(folder / f"{n:02d}.png")
    ingest(gallery, folder, embedder)
    plain = search(gallery, embedder, Query("red"), ("ssa-me",), k=25).results["ssa-me"]
    gone = gallery.item(plain[0].id)
    gone.path.unlink()
    result = search(gallery, embedder, Query("red"), ("ssa-me+rerank",), k=25)
    hits = result.results["ssa-me+rerank"]
    assert [hit.id for hit in hits[20:]] == [hit.id for hit in plain[20:]]
    assert (hits[19].id, hits[19].score) == (gone.id, plain[0].score)
    assert "ssa-me+rerank could not open 1 of its images" in result.notes[0]
    assert "first 20" in result.notes[1]


def test_an_image_alone_ranks_by_one_vector_and_says_so(filled, embedder, draw):
    result = search(
        filled, embedder, Query(image=draw("red")), ("ssa-me", "ssa-me+subjects", "ssa-me+rerank"), k=3
    )
    plain, *others = result.results.values()
    assert others == [plain, plain]
    assert plain[0].score == pytest.approx(1.0, abs=1e-6)
    assert [note.split(" ")[0] for note in result.notes] == ["ssa-me+subjects", "ssa-me+rerank"]
    assert all(hit.subject is None for hit in plain)


def test_text_and_image_follow_the_weight(filled, embedder, draw):
    ends = {}
    for weight in (0.0, 1.0):
        result = search(filled, embedder, Query("green", draw("blue"), weight), ("baseline",), k=1)
        ends[weight] = _names(filled, result.results["baseline"])
    assert ends == {0.0: ["green"], 1.0: ["blue"]}


# Subjects


def test_every_hit_of_a_text_says_which_region_answers_to_its_first_phrase(filled, embedder):
    result = search(filled, embedder, Query("blue and red"), k=5)
    hit = next(hit for hit in result.results["ssa-me"] if filled.item(hit.id).file_name == "red-blue.png")
    assert (hit.subject.phrase, hit.subject.bbox, hit.subject.label) == ("blue", (20, 0, 20, 30), None)
    assert hit.subject.score == pytest.approx(1.0, abs=1e-5)
    assert all(hit.subject is not None for hits in result.results.values() for hit in hits)


def test_under_subjects_the_phrase_and_the_region_that_fit_best_are_shown(filled, embedder):
    rankings = ("baseline", "baseline+subjects")
    found = {
        ranking: _subject_of(filled, embedder, "red red and blue", ranking) for ranking in rankings
    }  # the half is red once, and so a little less near
    assert (found["baseline"].phrase, found["baseline"].bbox) == ("red red", (0, 0, 20, 30))
    assert (found["baseline+subjects"].phrase, found["baseline+subjects"].bbox) == ("blue", (20, 0, 20, 30))
    assert found["baseline+subjects"].score > found["baseline"].score


def test_the_label_is_the_annotated_phrase_that_overlaps_enough(gallery, photos, embedder):
    subjects = [{"phrase": "sea", "bbox": [18, 0, 22, 30]}, {"phrase": "speck", "bbox": [0, 0, 4, 4]}]
    line = {"file_name": "red-blue.png", "subjects": subjects}
    (photos / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    ingest(gallery, photos, embedder)
    labels = {}
    for text in ("blue", "red"):
        hits = search(gallery, embedder, Query(text), ("ssa-me",), k=5).results["ssa-me"]
        hit = next(hit for hit in hits if hit.path.endswith("red-blue.png"))
        labels[text] = hit.subject.label
    assert labels == {"blue": "sea", "red": None}  # the speck covers 16 of 600 px of the left half


def _subject_of(gallery, embedder, text, ranking):
    hits = search(gallery, embedder, Query(text), (ranking,), k=5).results[ranking]
    return next(hit.subject for hit in hits if hit.path.endswith("red-blue.png"))


def test_what_is_no_single_subject_counts_and_is_never_shown(gallery, photos, make_embedder):
    subjects = [{"phrase": "flag", "bbox": [0, 0, 40, 30]}, {"phrase": "sea", "bbox": [20, 0, 20, 30]}]
    line = {"file_name": "red-blue.png", "subjects": subjects}
    (photos / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    embedder, text = (
        make_embedder(around=True),
        "red blue blue",
    )  # one phrase, nearest to both halves together
    ingest(gallery, photos, embedder)
    first = search(gallery, embedder, Query(text), ("baseline+subjects",), k=5).results["baseline+subjects"][
        0
    ]
    # with a third number of .05: the text is (1, 2), the whole (.5, .5), the blue half (0, 1)
    whole, half = 1.5025 / (5.0025 * 0.5025) ** 0.5, 2.0025 / (5.0025 * 1.0025) ** 0.5
    assert first.path.endswith("red-blue.png") and whole > half
    assert first.score == pytest.approx(0.2 * whole + 0.8 * whole, abs=1e-5)
    assert json.loads(json.dumps(first.subject.to_json())) == {
        "phrase": text,
        "score": pytest.approx(half, abs=1e-5),
        "bbox": [20, 0, 20, 30],
        "label": "sea",
    }
    for ranking in ("baseline", "baseline+rerank"):
        found = _subject_of(gallery, embedder, text, ranking)
        assert (found.bbox, found.label) == ((20, 0, 20, 30), "sea")


def test_query_phrases_and_what_it_states_are_embedded_in_one_call(filled, embedder):
    embedder.calls.clear()
    search(filled, embedder, Query("red and blue"), RANKINGS[:2])
    # the text and its two phrases
    assert embedder.calls == [(3, None)]


# Ties, overlap, the contract, parallel requests


def test_equal_scores_are_ordered_by_id_at_every_k(gallery, draw, embedder, tmp_path):
    folder = tmp_path / "same"
    folder.mkdir()
    for n in range(12):  # a text chunk makes other files of the same pixels
        note = PngInfo()
        note.add_text("n", str(n))
        draw("green").save(folder / f"{n:02d}.png", pnginfo=note)
    ingest(gallery, folder, embedder)
    for ranking in RANKINGS:
        for k in (1, 5, 12):
            hits = search(gallery, embedder, Query("green"), (ranking,), k).results[ranking]
            assert [hit.id for hit in hits] == list(range(1, k + 1))


def test_overlap_is_the_shared_share_of_the_first_two_rankings(filled, embedder):
    # white: the mean of red|blue is nearest, but the yellow half of green|yellow is the nearest subject
    pair = ("baseline", "baseline+subjects")
    assert search(filled, embedder, Query("white"), pair, k=1).overlap == 0.0
    assert search(filled, embedder, Query("white"), pair, k=2).overlap == 1.0
    assert search(filled, embedder, Query("white"), (*pair, "ssa-me"), k=1).overlap == 0.0
    assert search(filled, embedder, Query("red"), k=5).overlap == 1.0
    assert search(filled, embedder, Query("red"), ("ssa-me",), k=2).overlap == 1.0


def test_json_keeps_the_contract(filled, embedder):
    found = json.loads(json.dumps(search(filled, embedder, Query("red"), k=2).to_json(), allow_nan=False))
    assert found["query"] == {"text": "red", "image": False, "image_weight": 0.5, "k": 2}
    assert list(found["results"]) == ["baseline", "ssa-me"]
    hit = found["results"]["ssa-me"][0]
    assert set(hit) == {"rank", "id", "path", "score", "subject"}
    assert {"phrase", "score", "bbox"} <= set(hit["subject"])
    assert 0 <= found["overlap"] <= 1
    assert set(found["seconds"]) == {"query", "baseline", "ssa-me"}


def test_parallel_searches_equal_serial_ones(gallery, draw, embedder, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(60):
        draw(*(("red", "green"), ("blue", "yellow"), ("white", "red"))[n % 3], dot=n).save(
            folder / f"{n:02d}.png"
        )
    ingest(gallery, folder, embedder)
    texts = ["red", "green and blue", "yellow", "white and red", "blue"] * 4

    def run(text: str) -> object:
        result = search(gallery, embedder, Query(text), RANKINGS, k=30)
        return result.results, result.overlap, result.notes

    serial = [run(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, texts)) == serial


class Plain(FakeEmbedder):
    """Another model: its SSA-ME does not square colours, and it sees what is around its subjects."""

    def embed(self, samples, *, versions=("baseline", "ssa-me"), **options):
        found = super().embed(samples, versions=("baseline",), **options)
        rows, parts = found.vectors["baseline"], found.subject_vectors["baseline"]
        return FakeEmbedded(dict.fromkeys(versions, rows), found.regions, dict.fromkeys(versions, parts))


def test_two_models_are_searched_side_by_side_each_with_its_own_vectors(gallery, photos, embedder):
    """Another model's SSA-ME in the baseline's place answers as it does alone; the gallery stays with its own model."""
    other = Plain("other", around=True)
    ingest(gallery, photos, embedder)
    ingest(gallery, [], other, adopt=False)
    assert gallery.checkpoint == embedder.info.checkpoint
    both = Opposed(other, embedder, ("Then", "Now"))
    methods = ("", "+subjects", "+rerank")
    names = [version + method for version in ("baseline", "ssa-me") for method in methods]
    found = search(gallery, both, Query("red and blue"), names, 4)
    own = search(gallery, embedder, Query("red and blue"), names, 4)
    theirs = search(gallery, other, Query("red and blue"), names, 4)
    for method in methods:
        for name, alone in ((f"baseline{method}", theirs), (f"ssa-me{method}", own)):
            expected = alone.results[f"ssa-me{method}"]
            assert [(h.id, h.subject) for h in found.results[name]] == [(h.id, h.subject) for h in expected]
            assert [h.score for h in found.results[name]] == pytest.approx([h.score for h in expected])
    assert own.results["ssa-me+subjects"] != theirs.results["ssa-me+subjects"]


def test_a_gallery_without_the_other_models_vectors_says_so(filled, embedder):
    with pytest.raises(InputError, match="no vectors of this model"):
        search(filled, Opposed(Plain("other"), embedder, ("Then", "Now")), Query("red"), k=3)
