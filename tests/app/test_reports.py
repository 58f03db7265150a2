"""Files of an inspection: by the parameters of its link, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.reports import report_routes
from app.workspace import Workspace

LINK = "?tab=inspect&q=a+red+car&g=scenes&hit=1&p=a+tree&r=1,1,40,40&l=2"


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=report_routes(workspace))) as served:
        yield served


def test_every_kind_is_a_file_with_a_name(client: TestClient) -> None:
    answers = {
        name: client.get(f"/studio/report/{name}{LINK}")
        for name in ("inspection.html", "inspection.json", "figure.png", "figure.svg")
    }
    for name, answer in answers.items():
        assert answer.status_code == 200
        saved = answer.headers["content-disposition"]
        assert saved.startswith('attachment; filename="inspection-a-red-car-')
        assert saved.endswith(f'{name[-4:].lstrip(".")}"')
        assert answer.headers["x-content-type-options"] == "nosniff"
    data = json.loads(answers["inspection.json"].text)
    assert data["query"] == {"text": "a red car", "image": False}
    assert data["attention"]["layer"] == 2 and data["drawn_regions"] == [[1, 1, 40, 40]]
    assert [found["phrase"] for found in data["alignment"]] == ["a red car", "a tree"]
    assert "tab=inspect" in data["link"] and "/" not in data["image"]["name"]
    assert "Rank as drawn" in answers["inspection.html"].text
    assert Image.open(io.BytesIO(answers["figure.png"].content)).format == "PNG"


@pytest.mark.parametrize(
    "path",
    [
        "passwd",
        "inspection.html",
        "inspection.html?g=../x&hit=1",
        "inspection.html?g=scenes&hit=99999",
        "inspection.html?g=scenes&hit=99999999999999",
        "inspection.json?g=scenes&hit=1&l=9",
        "inspection.json?g=scenes&hit=1&i=" + "0" * 64,
        "..%2F..%2Fetc",
    ],
)
def test_what_is_not_there_is_not_found(path: str, client: TestClient) -> None:
    answer = client.get(f"/studio/report/{path}")
    assert answer.status_code == 404 and "Traceback" not in answer.text
