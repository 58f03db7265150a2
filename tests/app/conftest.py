"""A workspace with a small drawn gallery and an embedder that knows colours, and a page that serves it."""

from __future__ import annotations

import importlib.util
import io
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from PIL import Image

from app.workspace import Workspace
from tests.app.fakes import COLOURS, FakeEmbedder

SCENES = 24
ENTRY = Path(__file__).parents[2] / "app.py"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Started, with the demo gallery. Shared: make galleries of other names only."""
    started = Workspace(tmp_path_factory.mktemp("workspace"), demo_images=SCENES, load=FakeEmbedder).start()
    assert started._start.wait(60).phase == "done"
    return started


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """The bytes of an image of one colour: `picture("red", "PNG", size=(64, 48))`."""

    def make(
        colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB"
    ) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size, COLOURS[colour]).convert(mode).save(buffer, kind)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def address(workspace: Workspace) -> Iterator[str]:
    """Where the page of the shared workspace is served."""
    with served(workspace) as url:
        yield url


@contextmanager
def served(workspace: Workspace, auth: Callable[[str, str], bool] | None = None) -> Iterator[str]:
    """The page of a workspace at an address of this machine, on a free port. auth: who may enter, None for everyone."""
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.folder / "uploaded")
    from app.studio import build, launch_options

    page = build(workspace).queue(max_size=64, default_concurrency_limit=4)
    page.launch(
        server_name="127.0.0.1",
        server_port=free_port(),
        prevent_thread_lock=True,
        quiet=True,
        auth=auth,
        **launch_options(workspace),
    )
    yield str(page.local_url)
    page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def queue(workspace: Workspace) -> Iterator[None]:
    """The shared workspace's gallery with a queue to annotate out of its data, which is taken away afterwards."""
    workspace.annotating.prepare({"gallery": "scenes", "source": "data"})
    assert workspace.annotating._jobs["scenes"].wait(60).phase == "done"
    yield
    for file in workspace.gallery("scenes").folder.glob("annotations.sqlite*"):
        file.unlink()


@pytest.fixture(scope="session")
def entry() -> ModuleType:
    """`app.py`, loaded by its path: the name `app` is the package's."""
    spec = importlib.util.spec_from_file_location("entry", ENTRY)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photographs(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """A zip as a visitor may send it: three pictures, one twice, a text, a broken image and a path that leaves."""
    import zipfile

    target = tmp_path / "holiday.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for colour in ("red", "green", "blue"):
            archive.writestr(f"{colour}.png", picture(colour))
        archive.writestr("red again.png", picture("red"))
        archive.writestr("notes.txt", "not an image")
        archive.writestr("broken.jpg", b"\xff\xd8 this is no photograph")
        archive.writestr("../../outside.png", picture("yellow"))
    return target
