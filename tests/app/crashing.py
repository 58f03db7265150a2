"""What a page was doing to its workspace when it was killed; see `tests.gallery.crashing`.

All that the work imports late is imported here, so that the events it can die at are those with its own files.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import ssa_me.gallery.ingest
import ssa_me.gallery.unfinished
import ssa_me.scenes  # noqa: F401
from app.workspace import Workspace
from tests.app.fakes import FakeEmbedder

Image.init()
SCENES = 10


def make(folder: Path, files: list[Path]) -> None:
    """The first ingest of a new gallery."""
    workspace = Workspace(folder, demo_images=0, load=FakeEmbedder)
    workspace._start.start()
    assert workspace.making.begin("Mine", files).wait().phase == "done"


def demo(folder: Path) -> None:
    assert Workspace(folder, demo_images=SCENES, load=FakeEmbedder)._start.start().wait().phase == "done"
