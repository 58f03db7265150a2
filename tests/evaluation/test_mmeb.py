import json

import numpy as np
import pandas
import pytest

from ssa_me import tables
from ssa_me.errors import InputError
from ssa_me.evaluation.mmeb import SubsetResult, difference, report, run_mmeb
from ssa_me.evaluation.mmeb_data import Entry, read_subsets
from ssa_me.evaluation.models import parse_models
from ssa_me.mmeb_subsets import SUBSETS


def write_subset(root, name, rows):
    (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def t2i(text, *images):
    return {
        "qry_text": text,
        "qry_img_path": "",
        "tgt_text": [""] * len(images),
        "tgt_img_path": list(images),
    }


@pytest.fixture
def data(tmp_path, paint):
    for colour in ("red", "green", "blue", "orange"):
        paint(tmp_path / "images" / f"{colour}.png", colour)
    paint(tmp_path / "images" / "red-blue.png", "red", "blue")
    return tmp_path


def test_table_is_mmebs():
    by_task = {
        task: [s for s in SUBSETS.values() if s.meta_task == task]
        for task in {s.meta_task for s in SUBSETS.values()}
    }
    assert {task: len(members) for task, members in by_task.items()} == {
        "Classification": 10, "VQA": 10, "Retrieval": 12, "Grounding": 4,
    }  # fmt: skip
    assert sum(info.in_distribution for info in SUBSETS.values()) == 20
    assert len(SUBSETS) == 36


def test_hits_and_ties(data, embedder):
    write_subset(
        data,
        "binding_colour",
        [
            t2i("red", "images/red.png", "images/green.png", "images/blue.png"),
            t2i("green", "images/red.png", "images/green.png"),
        ],
    )
    answer = run_mmeb(data, embedder, parse_models("both"))
    ours, theirs = answer["models"]["ssa-me"], answer["models"]["baseline"]
    found = ours["subsets"]["binding_colour"]
    assert (found["hit@1"], found["queries"], found["ties"]) == (0.5, 2, 0)
    assert found["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    # Everything is one vector for the baseline: all ties, no hits, although arg max would point at index 0.
    assert theirs["subsets"]["binding_colour"] | {"interval": None, "chance": None} == {
        "hit@1": 0.0, "queries": 2, "ties": 2, "interval": None, "chance": None,
    }  # fmt: skip
    assert ours["overall"] == 0.5
    assert ours["meta_tasks"] == {}
    assert "ind" not in ours
    assert "ood" not in ours
    gap = answer["difference"]["ssa-me - baseline"]
    assert gap["overall"]["value"] == gap["subsets.binding_colour.hit@1"]["value"] == 0.5
    assert "notes" not in answer
    json.dumps(answer, allow_nan=False)


def test_each_entry_is_embedded_once(data, embedder):
    row = t2i("red", "images/red.png", "images/green.png")
    write_subset(data, "twice", [row, row, t2i("green", "images/green.png", "images/red.png")])
    run_mmeb(data, embedder, parse_models("ssa-me"))
    assert len(embedder.embedded) == 4


def test_means_over_meta_tasks_and_distributions(data, embedder):
    hit = t2i("red", "images/red.png", "images/green.png")
    miss = t2i("red", "images/green.png", "images/red.png")
    write_subset(data, "MSCOCO_t2i", [hit, hit])  # retrieval, in distribution
    write_subset(data, "EDIS", [miss, miss])  # retrieval, out of distribution
    write_subset(data, "RefCOCO", [hit, miss])  # grounding, out of distribution
    write_subset(data, "binding_relation", [hit])  # overall only
    ours = run_mmeb(data, embedder, parse_models("ssa-me"))["models"]["ssa-me"]
    assert ours["meta_tasks"] == {"Retrieval": 0.5, "Grounding": 0.5}
    assert (ours["ind"], ours["ood"], ours["overall"]) == (1.0, 0.25, (1 + 0 + 0.5 + 1) / 4)
    chosen = run_mmeb(data, embedder, parse_models("ssa-me"), ["EDIS"])["models"]["ssa-me"]
    assert list(chosen["subsets"]) == ["EDIS"]
    assert "ind" not in chosen


def test_subjects_find_what_one_vector_misses(data, embedder):
    # Purple as a whole is at .707 from red, orange at .787; by their halves, .2 * .707 + .8 * 1 beats .787.
    write_subset(data, "halves", [t2i("red", "images/red-blue.png", "images/orange.png")])
    write_subset(
        data, "captions", [{"qry_text": "", "qry_img_path": "images/red.png", "tgt_text": ["red", "blue"]}]
    )
    answer = run_mmeb(data, embedder, parse_models("ssa-me,ssa-me+subjects,baseline+subjects"))
    assert answer["models"]["ssa-me"]["subsets"]["halves"]["hit@1"] == 0.0
    assert answer["models"]["ssa-me+subjects"]["subsets"]["halves"]["hit@1"] == 1.0
    assert answer["notes"] == [
        "ssa-me+subjects, captions: 1 of 1 queries are not text to image; one vector ranked them.",
        "baseline+subjects, captions: 1 of 1 queries are not text to image; one vector ranked them.",
    ]
    assert set(answer["difference"]) == {"ssa-me+subjects - baseline+subjects", "ssa-me+subjects - ssa-me"}


def test_rerank_embeds_under_the_query(data, embedder):
    # Purple beats red for "red blue"; conditioned on "red" alone only redness is left, and both are equal: a tie, a miss.
    write_subset(data, "rerank", [t2i("red", "images/red-blue.png", "images/red.png")])
    ours = run_mmeb(data, embedder, parse_models("ssa-me,ssa-me+rerank"))["models"]
    assert ours["ssa-me"]["subsets"]["rerank"]["ties"] == 0
    assert ours["ssa-me+rerank"]["subsets"]["rerank"]["ties"] == 1
    assert ours["ssa-me+rerank"]["overall"] == 0.0


def test_rerank_reads_the_query_too_where_the_model_learned_to(data, embedder):
    write_subset(data, "rerank", [t2i("red", "images/red-blue.png", "images/red.png")])
    embedder.claims = True
    run_mmeb(data, embedder, parse_models("ssa-me+rerank"))
    assert sum(sample.image is not None and sample.text == "red" for sample in embedder.embedded) == 2


def test_difference_is_paired_and_stratified():
    def result(hits):
        return SubsetResult(np.array(hits, dtype=float), 0, tuple("abcd"[: len(hits)]), 0.5, 0)

    ours = {"one": result([1, 1, 0, 1]), "two": result([0, 1])}
    theirs = {"one": result([0, 1, 0, 0]), "two": result([0, 1])}
    gap = difference(ours, theirs)
    assert gap["overall"]["value"] == pytest.approx((0.5 + 0) / 2)
    assert gap["subsets.two.hit@1"] == {
        "value": 0.0,
        "interval": [0.0, 0.0],
    }  # never differs, however unsure each is
    low, high = gap["subsets.one.hit@1"]["interval"]
    assert [low / 2, high / 2] == pytest.approx(gap["overall"]["interval"])
    assert report({"ssa-me": ours}, parse_models("ssa-me"))["difference"] == {}


def test_rows_are_read(data):
    write_subset(
        data,
        "MSCOCO_i2t",
        [
            {"qry_text": "<|image_1|>\nFind a caption.", "qry_img_path": "images/red.png", "tgt_text": ["a", "b", "a", " "], "tgt_img_path": ["", "", "", ""]},
            {"qry_text": None, "qry_img_path": "images/red.png", "tgt_text": ["a", "b"]},
            {"qry_text": "what?", "qry_inst": "<image> Answer:", "tgt_text": ["", ""], "tgt_img_path": ["images/red.png", "images/blue.png"]},
        ],
    )  # fmt: skip
    (subset,) = read_subsets(data)
    first, second, third = subset.queries
    assert first.entry == Entry("Find a caption.", "images/red.png")
    assert first.candidates == (
        Entry("a", ""),
        Entry("b", ""),
    )  # a second positive among the wrong ones is no rival
    assert not first.is_text_to_image
    assert second.entry.text == SUBSETS["MSCOCO_i2t"].instruction
    assert third.entry == Entry("Answer: what?", "")
    assert third.is_text_to_image
    assert (first.cluster, third.cluster) == ("images/red.png", "images/red.png")


def test_missing_images_are_named_before_anything_is_embedded(data, embedder):
    write_subset(data, "gone", [t2i("red", "images/red.png", *(f"images/lost{i}.png" for i in range(7)))])
    with pytest.raises(
        InputError, match=r"7 of 8 images are missing.*images/lost0.png.*lost4.png and 2 more"
    ):
        run_mmeb(data, embedder, parse_models("both"), strict=True)
    assert embedder.embedded == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "bad.jsonl, row 2: not a JSON object"),
        ("[1]", "bad.jsonl, row 2: not a JSON object"),
        ('{"qry_text": "a"}', "row 2: it has no key 'tgt_text'"),
        ('{"qry_text": "a", "tgt_text": "b"}', "row 2: tgt_text is not a list"),
        ('{"qry_text": "a", "tgt_text": ["b"]}', "row 2: there is no wrong candidate"),
        (
            '{"qry_text": "a", "tgt_text": ["b", "c"], "tgt_img_path": [""]}',
            "tgt_text has 2 entries and tgt_img_path 1",
        ),
        (
            '{"qry_text": "", "tgt_text": ["b", "c"]}',
            "row 2: a query or candidate has neither text nor image",
        ),
        (
            '{"qry_text": "a", "qry_img_path": "../x.png", "tgt_text": ["b", "c"]}',
            "not relative to the data's folder",
        ),
        (
            '{"qry_text": "a", "qry_img_path": "/etc/x.png", "tgt_text": ["b", "c"]}',
            "not relative to the data's folder",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path, row, reason):
    good = '{"qry_text": "a", "tgt_text": ["b", "c"]}\n'
    (tmp_path / "bad.jsonl").write_text(good + row + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=reason.replace("[", r"\[")):
        read_subsets(tmp_path)


def test_bad_folders_and_names(data, embedder):
    with pytest.raises(InputError, match="is not a folder"):
        read_subsets(data / "none")
    with pytest.raises(InputError, match=r"holds no SUBSET\.jsonl"):
        read_subsets(data)
    (data / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no query"):
        read_subsets(data)
    with pytest.raises(InputError, match=r"no subset 'GQA'\. It has empty"):
        read_subsets(data, ["GQA"])


def test_parquet_rows_are_read_alike(tmp_path, monkeypatch):
    # As pandas gives them: lists are arrays, and what is missing is NaN.
    table = pandas.DataFrame(
        {
            "qry_text": ["what is it?", np.nan],
            "qry_img_path": [np.nan, "a.png"],
            "tgt_text": [np.array(["a cat", "a dog"]), np.array(["a cat", "a dog"])],
            "tgt_img_path": [np.array(["", ""]), np.array(["", ""])],
        }
    )
    (tmp_path / "GQA.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.png").write_bytes(b"there")
    monkeypatch.setattr(tables, "find_spec", lambda name: object())
    monkeypatch.setattr(pandas, "read_parquet", lambda path: table)
    (subset,) = read_subsets(tmp_path)
    assert [query.entry for query in subset.queries] == [
        Entry("what is it?", ""),
        Entry("Represent the given image with the following question:", "a.png"),
    ]
    assert subset.queries[0].candidates == (Entry("a cat", ""), Entry("a dog", ""))


def test_parquet_without_pyarrow_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "GQA.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs pyarrow"):
        read_subsets(tmp_path)
