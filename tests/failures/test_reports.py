"""Exports and the report: every column, nothing that a spreadsheet or a browser would run."""

from __future__ import annotations

import csv
import io

import numpy as np

from ssa_me.failures.export import rows_csv, rows_json
from ssa_me.failures.mining import FailureRun
from ssa_me.failures.selection import Selection
from ssa_me.failures.slices import tags_of
from ssa_me.failures.summary import failing_slices, report_html
from ssa_me.failures.table import measure
from tests.gallery.conftest import picture

EVIL = "<script>alert(1)</script>"


def test_csv_has_every_column_and_no_formula(table):
    one = table(["=1+1", "plain"], [3, 1], [1, 2], extra={"who": ["@Ada", ""]}, alignment=[0.5, np.nan])
    rows = list(csv.DictReader(io.StringIO(rows_csv(one, [1, 0], {1: "a.png", 2: "b.png"}))))
    assert [row["query"] for row in rows] == ["plain", "'=1+1"]
    assert (rows[1]["gain"], rows[1]["target"], rows[1]["who"], rows[1]["alignment"]) == (
        "2",
        "a.png",
        "'@Ada",
        "0.5",
    )
    assert (rows[0]["gain"], rows[0]["alignment"], rows[0]["misaligned"]) == ("-1", "", "")


def test_json_names_images(table):
    one = table(["a"], [3], [1])
    (row,) = rows_json(one, [0], {1: "a.png"})
    assert (row["target"], row["targets"], row["top_baseline"], row["query"]) == (
        "a.png",
        ["a.png"],
        "a.png",
        "a",
    )


def test_the_report_needs_nothing_else_and_runs_nothing(table, tmp_path):
    picture("red").save(tmp_path / "a.jpg")
    many = table([EVIL, *["red car"] * 9, *["blue dog"] * 30], [1] * 40, [*[99] * 10, *[1] * 30])
    run = FailureRun("captions", EVIL, "vector", {"baseline": "0", "ssa-me": "1"}, 40, 1.0, (), (), many)
    selection = Selection(outcome="broken")
    slices = failing_slices(many, tags_of(many), selection)
    page = report_html(
        run,
        selection,
        [0],
        {1: 'a".png'},
        {1: tmp_path / "a.jpg"},
        measure(many),
        slices,
        "python -m ssa_me failures",
    )
    assert EVIL not in page and "&lt;script&gt;" in page and "a&quot;.png" in page
    assert page.count("data:image/png;base64,") == 1 and "<script" not in page
    assert "://" not in page and "Broken by SSA-ME" in page
    assert '<th scope="row">colour: red</th><td>9 of 9</td>' in page
    assert "Baseline's rank 1, SSA-ME's 99 (-98)" in page.replace("&#x27;", "'")
