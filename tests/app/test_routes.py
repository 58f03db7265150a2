from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.routes import image_routes
from app.workspace import Workspace


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    return TestClient(Starlette(routes=image_routes(workspace)))


def test_thumbnails_images_and_uploads_are_served(
    client: TestClient, workspace: Workspace, picture: Callable[..., bytes]
) -> None:
    item = workspace.page("scenes", 0)["items"][0]
    assert (
        client.get(item["thumb"]).content
        == workspace.gallery("scenes").item(item["id"]).thumbnail.read_bytes()
    )
    full = client.get(f"studio/image/scenes/{item['id']}")
    assert (full.headers["content-type"], full.content[:2]) == ("image/jpeg", b"\xff\xd8")
    upload = workspace.uploads.add(picture("green"), "x.png")
    assert client.get(f"studio/upload/{upload.hash}").headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "path",
    [
        "studio/thumb/scenes/999999",
        "studio/thumb/scenes/99999999999999999999999999",
        "studio/thumb/nowhere/1",
        "studio/thumb/..%2f..%2fetc/1",
        "studio/thumb/.scenes/1",
        "studio/image/scenes/-1",
        "studio/image/scenes/gallery.sqlite",
        "studio/upload/..%2f..%2fapp.py",
        "studio/upload/" + "0" * 64,
    ],
)
def test_everything_else_is_not_found(path: str, client: TestClient) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "/" not in response.text
