"""Data sets of the hub, with a stand-in for the library `datasets`: what comes along, what is said where it cannot be read."""

from __future__ import annotations

import io
import sys
import types
from dataclasses import dataclass, field

import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import ingest
from ssa_me.gallery.hub_data import HubData, open_hub, parse_hub


@dataclass(frozen=True)
class FakeImage:
    decode: bool = True


@dataclass(frozen=True)
class FakeLabel:
    names: list


@dataclass(frozen=True)
class FakeDataset:
    rows: list
    features: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        return self.rows[number]

    def cast_column(self, name, feature):
        assert feature == FakeImage(decode=False)
        return self


@pytest.fixture
def hub(monkeypatch, draw):
    """The data set someone/set with the splits train (20 rows) and test (1 row), and one without images."""

    def png(*colours, dot):
        data = io.BytesIO()
        draw(*colours, dot=dot).save(data, "PNG")
        return {"bytes": data.getvalue(), "path": f"{dot}.png"}

    features = {
        "id": "int",
        "image": FakeImage(),
        "label": FakeLabel(["indoors", "outdoors"]),
        "caption": "str",
    }
    boxes = {"bbox": [[1, 2, 10, 9], [0, 0, 0, 5], [1, 1, 2, 2]], "category": ["flag", "dot", 3]}
    rows = [
        {
            "id": n,
            "image": png("red", "blue", dot=n),
            "label": n % 2,
            "caption": [" a flag ", ""],
            "objects": boxes,
        }
        for n in range(21)
    ]
    sets = {
        "someone/set": {"train": FakeDataset(rows[:20], features), "test": FakeDataset(rows[20:], features)},
        "someone/text": {"train": FakeDataset([], {"text": "str"})},
    }

    def load_dataset(name, split=None):
        if name not in sets:
            raise ConnectionError(f"Couldn't reach {name} on the Hub\nmore")
        return sets[name][split] if split else sets[name]

    module = types.ModuleType("datasets")
    module.Image, module.ClassLabel, module.load_dataset = FakeImage, FakeLabel, load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr("ssa_me.gallery.hub_data.PART", 8)


def test_names():
    assert parse_hub("hub:a/b") == HubData("a/b")
    assert parse_hub("hub:a/b:test") == HubData("a/b", "test")
    assert (parse_hub("photos"), str(HubData("a/b", "test"))) == (None, "hub:a/b:test")
    for wrong in ("hub:", "hub:a/b/c", "hub:../x/y", "hub:a/b?"):
        with pytest.raises(InputError, match="names no data set"):
            parse_hub(wrong)


def test_images_captions_boxes_and_plain_columns_come_along(hub, gallery, embedder):
    seen = []
    report = ingest(gallery, HubData("someone/set"), embedder, progress=seen.append)
    assert (report.found, report.added, len(gallery)) == (21, 21, 21)
    assert seen[-1].done == seen[-1].total == 21
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    item = gallery.items()[20]
    assert (item.file_name, item.captions) == ("20.png", ("a flag",))
    assert [(s.phrase, s.bbox) for s in item.subjects] == [("flag", (1, 2, 10, 9))]
    assert item.extra == {"id": 20, "label": "indoors", "split": "test"}
    assert item.path.is_relative_to(gallery.folder / "images")
    assert [path.name for path in gallery.folder.iterdir() if path.name.startswith(".")] == []
    assert ingest(gallery, HubData("someone/set", "test"), embedder).duplicates == (("20.png", "20.png"),)


def test_what_cannot_be_read_says_why(hub, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"hub:no/one cannot be read \(Couldn't reach no/one on the Hub\)"):
        open_hub(HubData("no/one"), tmp_path)
    with pytest.raises(InputError, match="no column of images; its columns are text"):
        open_hub(HubData("someone/text"), tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        open_hub(HubData("someone/set"), tmp_path)
