import csv
import io
import json
import zipfile

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.exports import export_routes
from app.workspace import Workspace

LINK = "q=a+red+car&k=3&g=scenes&lists=ssa-me,baseline%2Bsubjects&where=width%3E%3D1"


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    return TestClient(Starlette(routes=export_routes(workspace)))


def test_both_lists_as_a_table(client: TestClient) -> None:
    answer = client.get(f"/studio/results/results.csv?{LINK}")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["ranking"] for row in rows] == ["ssa-me"] * 3 + ["baseline+subjects"] * 3
    assert {row["path"] for row in rows} == {""}, "nobody's business"
    assert 'filename="results-a-red-car.csv"' in answer.headers["content-disposition"]


def test_thumbnails_come_on_demand(client: TestClient, workspace: Workspace) -> None:
    answer = client.get(f"/studio/results/results.zip?{LINK}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as whole:
        names = set(whole.namelist())
        data = json.loads(whole.read("results.json"))
    hits = [hit for hits in data["results"].values() for hit in hits]
    assert names == {"results.csv", "results.json", *(hit["thumbnail"] for hit in hits)}
    assert str(workspace.folder) not in json.dumps(data)


@pytest.mark.parametrize(
    "link", ["results.csv", "results.csv?q=red&g=../etc", "results.exe?q=red", "results.csv?q=red&where=x"]
)
def test_what_makes_no_sense_is_not_found(link: str, client: TestClient) -> None:
    assert client.get(f"/studio/results/{link}").status_code == 404
