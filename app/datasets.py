"""The data sets that can be trained on: uploaded, of a gallery, of validated annotations, or generated. Knows no page.

Each is looked at before it is kept, in a thread of its own, and what the check found stays beside it. Uploads are
hostile: zips are unpacked within limits, images written anew from their pixels, nothing else of them is kept.

    FOLDER/ID/set.json   name, source and the report of the check
    FOLDER/ID/data/      an ImageFolder, with a split
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs import Job, JobState
from ssa_me.errors import InputError, disk_trouble
from ssa_me.jobs import read_json, write_json

if TYPE_CHECKING:
    from ssa_me.gallery.store import Gallery
    from ssa_me.samples import Record
    from ssa_me.training.data_check import Finding, Quota, Report

_ID = re.compile(r"[0-9a-f]{12}")
_FILE, _DATA = "set.json", "data"
_SCENES_HELD_OUT, _EVALUATION_SEED = 60, 1_400_000
_PAGE = 500
MOST_SCENES = 4_000
"""A scene comes with its twins, and all of them are held in memory."""
Validated = Callable[[str], "list[Record]"]
"""The records of a gallery's validated subjects, by its id."""


@dataclass(frozen=True)
class DataSet:
    """A set that was checked. scenes: so many generated scenes are trained on instead of images in `data`, which are held
    out; 0 for any other set. report: what the check found, in plain values."""

    id: str
    name: str
    source: str
    folder: Path
    created: float = 0.0
    scenes: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / _DATA

    @property
    def images(self) -> int:
        """Images that are trained on."""
        return int(self.report.get("train", 0))

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "folder"}


class DataSets:
    """The sets of a folder. `gallery` opens a gallery by its id, and refuses what is none; `validated` is where validated
    subjects come from, None where there are none."""

    def __init__(
        self,
        folder: Path,
        gallery: Callable[[object], Gallery],
        quota: Quota | None = None,
        validated: Validated | None = None,
    ) -> None:
        self.folder, self._gallery, self._quota, self._validated = folder, gallery, quota, validated
        self._check: Job | None = None
        self._lock = threading.RLock()

    @property
    def check(self) -> Job | None:
        """The check that runs, or ran last."""
        return self._check

    @property
    def has_annotations(self) -> bool:
        return self._validated is not None

    def sets(self) -> list[DataSet]:
        """All sets, newest first."""
        folders = self.folder.iterdir() if self.folder.is_dir() else iter(())
        found = [self._read(path) for path in folders if _ID.fullmatch(path.name)]
        return sorted((one for one in found if one), key=lambda one: (-one.created, one.id))

    def get(self, id: object) -> DataSet:
        """The set of that id. InputError where there is none."""
        found = self._read(self.folder / id) if isinstance(id, str) and _ID.fullmatch(id) else None
        if found is None:
            raise InputError("There is no such data set (any more). Choose one from the list.")
        return found

    def delete(self, id: object) -> None:
        """Remove a set with its images."""
        one = self.get(id)
        try:
            shutil.rmtree(one.folder)
        except OSError as error:
            raise disk_trouble(error, "the folder of data sets") from error

    def from_upload(self, files: Sequence[Path]) -> Job:
        """Begin to check uploaded files: zips, or images beside a metadata.jsonl. InputError where there are none."""
        if not files:
            raise InputError(
                "There are no files to check. Choose a zip, or images with their metadata.jsonl."
            )
        name = files[0].stem if len(files) == 1 else f"{len(files)} files"
        return self._begin(name, "upload", lambda job, out: self._upload(job, out, files))

    def from_gallery(self, gallery_id: object) -> Job:
        """Begin to check the data set that a gallery was made of: its images with captions and subjects."""
        gallery = self._gallery(gallery_id)

        def work(job: Job, out: Path) -> Report:
            items = [item for at in range(0, len(gallery), _PAGE) for item in gallery.items(at, _PAGE)]
            records = [_record(item) for item in items]
            return self._look(job, out, records)

        return self._begin(gallery.name, "gallery", work)

    def from_annotations(self, gallery_id: object) -> Job:
        """Begin to check the validated subjects of a gallery. InputError where there are none."""
        gallery, validated = self._gallery(gallery_id), self._validated
        if validated is None:
            raise InputError("Annotations cannot be trained on here.")
        records = validated(str(gallery_id))
        if not records:
            raise InputError(
                f"Nothing of {gallery.name} is validated yet. Accept or fix some subjects in Annotate first."
            )
        return self._begin(
            f"{gallery.name}, validated", "annotations", lambda job, out: self._look(job, out, records)
        )

    def from_scenes(self, count: object) -> Job:
        """Begin to draw the scenes that are held out of a run on `count` generated ones with their twins."""
        from ssa_me.scenes.twins import TWINS

        if type(count) is not int or not 10 <= count <= MOST_SCENES:
            raise InputError(f"Give a number of scenes between 10 and {MOST_SCENES:,}.")

        def work(job: Job, out: Path) -> Report:
            from ssa_me.samples import read_image_folder
            from ssa_me.scenes import write_scenes

            with tempfile.TemporaryDirectory(dir=out.parent) as name:
                drawn = Path(name) / "val"
                write_scenes(drawn, _SCENES_HELD_OUT, _EVALUATION_SEED, size=160, workers=0)
                report = self._look(job, out, read_image_folder(drawn))
            report.train = count * (1 + TWINS)
            return report

        return self._begin(f"{count:,} generated scenes", "scenes", work, scenes=count)

    # Inside

    def _begin(self, name: str, source: str, work: Callable[[Job, Path], Report], scenes: int = 0) -> Job:
        with self._lock:
            if self._check is not None and self._check.running:
                raise InputError("Another data set is being checked. Wait for it, or cancel it.")
            self._check = Job(name, lambda job: self._keep(job, name, source, work, scenes))
            return self._check.start()

    def _keep(
        self, job: Job, name: str, source: str, work: Callable[[Job, Path], Report], scenes: int
    ) -> JobState:
        id = uuid.uuid4().hex[:12]
        building = self.folder / f".{id}"
        try:
            building.mkdir(parents=True)
            report = work(job, building / _DATA)
            one = DataSet(id, name, source, self.folder / id, time.time(), scenes, report.to_json())
            write_json(building / _FILE, one.to_json())
            building.rename(one.folder)
        except _Cancelled:
            return JobState("cancelled", "Cancelled; nothing was kept.")
        except OSError as error:
            raise disk_trouble(error, "the data set") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        told = f"{name}: {report.train:,} images to train on, {report.held_out:,} held out."
        return JobState("done", told, 1.0, {"set": id})

    def _upload(self, job: Job, out: Path, files: Sequence[Path]) -> Report:
        from ssa_me.archives import Limits, unpack
        from ssa_me.samples import read_image_folder
        from ssa_me.training.data_check import Finding, Quota

        quota = self._quota or Quota()
        limits = Limits(entries=2 * quota.images + 100, total_bytes=2 * quota.bytes)
        wrong: list[Finding] = []
        skipped: list[Finding] = []

        def tell(done: int, of: int) -> None:
            _report(job, "Unpacking", done, of)

        with tempfile.TemporaryDirectory(dir=out.parent) as name:
            for number, file in enumerate(files):
                target = (
                    Path(name)
                    / "set"
                    / (f"{number}" if file.suffix.lower() == ".zip" and len(files) > 1 else "")
                )
                if file.suffix.lower() == ".zip":
                    unpacked = unpack(file, target, limits, progress=tell)
                    skipped += [Finding(*one) for one in unpacked.skipped]
                else:
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target / file.name)
            root = Path(name) / "set"
            try:
                records = read_image_folder(root, wrong=lambda *found: wrong.append(Finding(*found)))
            except InputError as error:
                raise InputError(str(error).replace(str(root), files[0].name)) from error
            return self._look(job, out, records, wrong, skipped)

    def _look(
        self,
        job: Job,
        out: Path,
        records: Sequence[Record],
        wrong: Sequence[Finding] = (),
        skipped: Sequence[Finding] = (),
    ) -> Report:
        from ssa_me.training.data_check import Quota, check_set

        return check_set(
            records,
            out,
            total=len(records),
            wrong=wrong,
            skipped=skipped,
            quota=self._quota or Quota(),
            progress=lambda done, of: _report(job, "Checking", done, of),
        )

    def _read(self, folder: Path) -> DataSet | None:
        table = read_json(folder / _FILE)
        if table is None or not (folder / _DATA).is_dir():
            return None
        try:
            return DataSet(**table | {"folder": folder, "id": folder.name})
        except TypeError:
            return None


class _Cancelled(Exception):
    """The check was told to stop."""


def _report(job: Job, what: str, done: int, of: int) -> None:
    job.report(f"{what} {job.name}: {done:,} of {of:,}", done / max(1, of))
    if job.cancelled():
        raise _Cancelled


def _record(item: Any) -> Record:
    from ssa_me.samples import Record

    extra = dict(item.extra)
    split = extra.pop("split", None)
    return Record(item.path, item.file_name, item.captions, item.subjects, split, extra)
