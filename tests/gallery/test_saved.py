"""Saved queries and views, and results as files."""

from __future__ import annotations

import csv
import json

import pytest

from ssa_me.commands import search as command
from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, Query, Refinement, ingest, parse_filters, refine, search
from ssa_me.gallery.export import COLUMNS, export
from ssa_me.gallery.saved import SavedQuery, forget, load_query, save, save_query, saved


@pytest.fixture
def filled(gallery, photos, embedder):
    line = {"file_name": "red-blue.png", "captions": ["=1+1 a flag"], "split": "test"}
    line["subjects"] = [{"phrase": "sea", "bbox": [20, 0, 20, 30]}]
    (photos / "metadata.jsonl").write_text(json.dumps(line))
    ingest(gallery, photos, embedder)
    return gallery


def test_a_saved_query_asks_the_same_again(filled, embedder, draw):
    refinement = Refinement(parse_filters(["split!=train"]), 0.1, 0.9, "alignment")
    query = Query("red -blue", draw("green", "blue"), 0.25, (20, 0, 20, 30))
    asked = SavedQuery(query, ("baseline", "ssa-me+subjects"), 3, refinement)
    assert save_query(filled, "  red  ones ", asked) == "red ones"
    again = load_query(Gallery.open(filled.folder), "red ones")
    assert (again.rankings, again.k, again.refinement) == (asked.rankings, 3, refinement)
    assert (again.query.text, again.query.region, again.query.image_weight) == (
        "red -blue",
        query.region,
        0.25,
    )
    first, second = (
        search(filled, embedder, a.query, a.rankings, a.k, refinement=a.refinement) for a in (asked, again)
    )
    assert first.results == second.results


def test_a_plain_query_is_saved_with_its_defaults(filled):
    asked = SavedQuery(Query("red"), ("ssa-me",), 10, Refinement())
    save_query(filled, "red", asked)
    assert load_query(filled, "red") == asked
    with pytest.raises(InputError, match=r"no saved query 'blue' in Test; there is: red\."):
        load_query(filled, "blue")


def test_views_are_kept_by_name_replaced_and_forgotten(filled):
    save(filled, "view", "b", {"sort": "score"})
    save(filled, "view", "a", {"sort": "score"})
    save(filled, "view", "a", {"sort": "alignment", "写": [1, None]})
    assert saved(filled, "view") == {"a": {"sort": "alignment", "写": [1, None]}, "b": {"sort": "score"}}
    assert saved(filled, "query") == {}
    forget(filled, "view", "a")
    with pytest.raises(InputError, match="no saved view 'a'"):
        forget(filled, "view", "a")


@pytest.mark.parametrize("name", ["", " \n", "x" * 81, "a\x00b"])
def test_bad_names_are_refused(filled, name):
    with pytest.raises(InputError, match="A name has 1 to 80"):
        save(filled, "view", name, {})


def test_what_is_too_much_or_of_no_kind_is_refused(filled):
    with pytest.raises(InputError, match="letters, more than"):
        save(filled, "view", "a", {"x": "y" * 70_000})
    with pytest.raises(InputError, match="the kind 'thing'"):
        save(filled, "thing", "a", {})


# Export


def test_results_are_written_as_a_table_as_json_and_with_thumbnails(filled, embedder, tmp_path):
    result = search(filled, embedder, Query("red"), ("baseline", "ssa-me+subjects"), 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    files = export(result, filled, tmp_path / "out", thumbnails=True)
    assert sorted(path.name for path in files if path.suffix != ".jpg") == ["results.csv", "results.json"]
    raw = (tmp_path / "out" / "results.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") and raw.count(b"\r\n") == 5
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    hits = [hit for name in result.results for hit in result.results[name]]
    assert [(row["ranking"], int(row["rank"]), int(row["id"])) for row in rows] == [
        (name, hit.rank, hit.id) for name in result.results for hit in result.results[name]
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx([hit.score for hit in hits], abs=1e-6)
    second = rows[1]
    assert (second["file_name"], second["caption"]) == ("red-blue.png", "'=1+1 a flag")
    assert all((tmp_path / "out" / row["thumbnail"]).is_file() for row in rows)
    data = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    plain = result.to_json()
    assert data["query"] == plain["query"]
    hit = data["results"]["baseline"][1]
    assert (hit["file_name"], hit["captions"]) == ("red-blue.png", ["=1+1 a flag"])
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_paths_can_be_left_out_and_one_format_be_enough(filled, embedder, tmp_path):
    result = search(filled, embedder, Query("red"), ("baseline",), 2)
    (file,) = export(result, filled, tmp_path / "out", formats=["json"], paths=False)
    assert "path" not in json.loads(file.read_text())["results"]["baseline"][0]
    with pytest.raises(InputError, match="not written as xlsx"):
        export(result, filled, tmp_path / "out", formats=["xlsx"])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="Give another folder"):
        export(result, filled, tmp_path / "file")


def test_the_command_has_the_library_s_defaults():
    assert command.SORT_KEYS == refine.SORT_KEYS
