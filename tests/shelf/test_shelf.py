"""Versions on a shelf: kept, used, deleted; what goes out comes back in, and what is hostile or broken does not."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError
from safetensors.torch import load_file, save_file

from ssa_me.archives import Limits
from ssa_me.checkpoint import fingerprints
from ssa_me.errors import InputError
from ssa_me.shelf import BASE, Shelf, export_folder, export_zip, import_checkpoint
from ssa_me.shelf import store as store_module
from ssa_me.shelf.exchange import push


@pytest.fixture
def shelf(tmp_path: Path, trained_checkpoint: Path) -> Shelf:
    return Shelf(tmp_path / "versions", trained_checkpoint)


def put(shelf: Shelf, source: Path, name: str = "Mine", **known: object):
    return shelf.add(name, lambda out: shutil.copytree(source, out), **known)


def test_a_version_is_kept_with_where_it_came_from(shelf: Shelf, trained_checkpoint: Path) -> None:
    made = put(
        shelf, trained_checkpoint, "  Red   birds ", parent=BASE, data={"images": 3}, unfinished=("ssa-me",)
    )
    again = Shelf(shelf.folder, shelf.base).version(made.id)
    assert again == made and made.name == "Red birds"
    assert (made.parent, made.data, made.unfinished) == (BASE, {"images": 3}, ("ssa-me",))
    assert made.fingerprints == fingerprints(trained_checkpoint) == fingerprints(made.checkpoint)
    assert [one.id for one in shelf.versions()] == [BASE, made.id]
    assert put(shelf, trained_checkpoint, "Red birds").name == "Red birds 2"
    assert shelf.of_fingerprints(made.fingerprints).id == BASE
    assert shelf.note(made.id, before_after={"x": 1}).results == {"before_after": {"x": 1}}
    assert shelf.rename(made.id, "Blue").name == "Blue"


def test_use_and_roll_back(shelf: Shelf, trained_checkpoint: Path) -> None:
    made = put(shelf, trained_checkpoint, parent=BASE)
    assert shelf.in_use() == BASE
    shelf.use(made.id)
    assert Shelf(shelf.folder, shelf.base).in_use() == made.id
    with pytest.raises(InputError, match="is in use"):
        shelf.delete(made.id)
    assert made.parent is not None
    shelf.use(made.parent)
    shelf.delete(made.id)
    assert [one.id for one in shelf.versions()] == [BASE] and not made.checkpoint.exists()
    for id in (made.id, "../x", None, 3):
        with pytest.raises(InputError):
            shelf.version(id)
    for change in (shelf.delete, lambda id: shelf.rename(id, "x")):
        with pytest.raises(InputError, match="not the page's to change"):
            change(BASE)


def test_what_is_no_checkpoint_or_does_not_fit_leaves_nothing(
    shelf: Shelf, trained_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        shelf.add("x", lambda out: out.mkdir())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_json", full)
    with pytest.raises(InputError, match="disk is full"):
        put(shelf, trained_checkpoint)
    with pytest.raises(InputError, match="disk is full"):
        shelf.use(BASE)
    assert list(shelf.folder.iterdir()) == [] and [one.id for one in shelf.versions()] == [BASE]


def test_out_as_folder_and_zip_and_in_again(shelf: Shelf, trained_checkpoint: Path, tmp_path: Path) -> None:
    made = put(shelf, trained_checkpoint)
    (made.checkpoint / "training").mkdir()
    (made.checkpoint / "training" / "log.jsonl").write_text("{}")
    folder = export_folder(made.checkpoint, tmp_path / "out")
    packed = export_zip(made.checkpoint, tmp_path / "mine.zip", "mine")
    assert not (folder / "training").exists()
    with zipfile.ZipFile(packed) as archive:
        assert all(name.startswith("mine/") and "training" not in name for name in archive.namelist())
    for source in (folder, packed):
        back = shelf.add("Back", lambda out, s=source: import_checkpoint(s, out), origin="imported")
        assert back.fingerprints == made.fingerprints and back.origin == "imported"
    with pytest.raises(InputError, match="exists already"):
        export_folder(made.checkpoint, folder)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(
    "what", ["pickle", "outside", "bomb", "code", "hub code", "missing", "shape", "elsewhere", "nothing"]
)
def test_a_hostile_or_broken_zip_is_refused_whole(
    what: str, shelf: Shelf, trained_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained_checkpoint, tmp_path / "evil")
    limits, words = Limits(entries=500), ""
    if what == "pickle":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
        words = "cannot be loaded|does not fit"
    elif what == "code":
        table = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}
        (folder / "config.json").write_text(json.dumps(table))
        words = r"config\.json has auto_map"
    elif what == "hub code":
        table = json.loads((folder / "baseline" / "adapter_config.json").read_text())
        (folder / "baseline" / "adapter_config.json").write_text(
            json.dumps(table | {"megatron_config": {"a": 1}})
        )
        words = "has megatron_config"
    elif what in ("missing", "shape"):
        path = folder / "baseline" / "adapter_model.safetensors"
        state = load_file(path)
        key = sorted(state)[0]
        if what == "missing":
            del state[key]
        else:
            state[key] = state[key][:1].contiguous()
        save_file(state, path)
        words = "evil.zip.*weights " + ("missing" if what == "missing" else "of another shape")
    elif what == "elsewhere":
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
        words = "adapts a model that is elsewhere"
    elif what == "nothing":
        (folder / "config.json").unlink()
        words = r"no config\.json"
    packed = tmp_path / "evil.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"evil/{path.relative_to(folder)}")
        if what == "outside":
            archive.writestr("../../../outside.json", "{}")
        if what == "bomb":
            archive.writestr("evil/bomb.safetensors", b"\0" * 40_000_000)
            words = "zip bomb"
    if what == "outside":
        shelf.add("x", lambda out: import_checkpoint(packed, out, limits))
        assert not list(tmp_path.rglob("outside.json")) and not (tmp_path.parent / "outside.json").exists()
        return
    with pytest.raises(InputError, match=words):
        shelf.add("x", lambda out: import_checkpoint(packed, out, limits))
    assert list(shelf.folder.iterdir()) == []
    assert not Path("pwned").exists()


def test_push_says_what_is_missing(trained_checkpoint: Path) -> None:
    class Lacking(HfApi):
        def create_repo(self, *_: object, **__: object):
            raise LocalTokenNotFoundError("no token")

    with pytest.raises(InputError, match=r"login\. Run `hf auth login`"):
        push(trained_checkpoint, "me/mine", api=Lacking)
    with pytest.raises(InputError, match="Give OWNER/NAME"):
        push(trained_checkpoint, "mine")

    class Unplugged(HfApi):
        def create_repo(self, *_: object, **__: object):
            raise ConnectionError("Name or service not known")

    with pytest.raises(InputError, match="cannot be reached: Name or service not known"):
        push(trained_checkpoint, "me/mine", api=Unplugged)


def test_push_uploads_the_checkpoint_alone(trained_checkpoint: Path) -> None:
    sent: list[dict[str, object]] = []

    class Hub(HfApi):
        def create_repo(self, repo_id: str, **options: object):
            sent.append({"repo": repo_id} | options)

        def upload_folder(self, **options: object):
            sent.append(options)
            return type("Commit", (), {"commit_url": "hub/me/mine"})

    assert push(trained_checkpoint, "me/mine", api=Hub) == "hub/me/mine"
    assert sent[0] == {"repo": "me/mine", "private": True, "exist_ok": True}
    assert sent[1]["folder_path"] == trained_checkpoint and sent[1]["ignore_patterns"] == ["training/*"]
