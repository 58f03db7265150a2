"""What the Annotate tab asks of a workspace: the queue of a gallery, decisions, snapping, exports. Knows no page.

A gallery's annotations lie in its folder. Every function checks what it is given: any value can come from a forged
request. Whether annotating is allowed at all is its caller's to check. Masks travel as COCO's uncompressed run lengths of `mask_size`.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from app import views
from app.jobs import Job, JobState
from ssa_me.errors import InputError
from ssa_me.samples import Subject

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.annotation import AnnotationStore, Decision, Filters, Item, Picture

Json = dict[str, Any]

DATABASE = "annotations.sqlite"
MASK_LONGEST = 1024
KEPT_EXPORTS = 20
_EXPORT_NAMES = {"imagefolder": ".zip", "coco": ".coco.json", "csv": ".csv"}


class Annotating:
    """The annotations of a workspace's galleries. Thread-safe as that is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._stores: dict[str, AnnotationStore] = {}
        self._jobs: dict[str, Job] = {}
        self._exports: OrderedDict[str, tuple[Path, str]] = OrderedDict()
        self._lock = threading.RLock()

    # The queue

    def arrive(self, sent: Mapping[str, Any]) -> Json:
        """Where an annotator is: the item to go on with, or what to do first. `sent`: gallery, name, order, filters."""
        gallery_id = self._gallery_id(sent)
        job = self._jobs.get(gallery_id)
        if job is not None and job.running:
            return {"gallery": gallery_id, "preparing": _job_view(job)}
        store = self.store(gallery_id)
        failed = _job_view(job) if job is not None and job.state.phase == "failed" else None
        if store.count() == 0:
            subjects = any(item.subjects for item in self._workspace.gallery(gallery_id).items(0, 20))
            return {"gallery": gallery_id, "empty": {"subjects": subjects}, "failed": failed}
        if not sent.get("name"):
            return {"gallery": gallery_id, "nameless": True}
        name = _name(sent)
        item = store.resume(name)
        shown = self._with_next(gallery_id, store, sent, current=item if item and item.mine is None else None)
        return shown | {"gallery": gallery_id, "progress": self.progress(gallery_id), "judges": store.judges}

    def prepare(self, sent: Mapping[str, Any]) -> Json:
        """Begin to fill a gallery's queue from its "data" or by the "model"; a job, of which there is one at a time."""
        gallery_id, source = self._gallery_id(sent), sent.get("source")
        if source not in ("data", "model"):
            raise InputError("Subjects can be proposed from the data or by the model. Choose one of them.")
        with self._lock:
            if any(job.running for job in self._jobs.values()):
                raise InputError("Another queue is being filled. Wait for it.")
            job = Job(gallery_id, lambda job: self._fill(job, gallery_id, str(source)))
            self._jobs[gallery_id] = job.start()
        return {"gallery": gallery_id, "preparing": _job_view(job)}

    def decide(self, sent: Mapping[str, Any]) -> Json:
        """Record a verdict on an item, or a subject that was added to its image, and say what comes next (after a new
        subject the same item). It is on the disk by then."""
        gallery_id = self._gallery_id(sent)
        store, name, verdict = self.store(gallery_id), _name(sent), str(sent.get("verdict"))
        seconds, token = _number(sent.get("seconds"), 0.0), sent.get("token")
        if verdict == "add":
            picture = store.item(_id(sent)).picture
            decision = store.add_subject(picture.id, name, _subject(sent, picture), seconds, token)
            shown = self._shown(gallery_id, store, store.visit(_id(sent), name), name, sent)
            return self._saved(gallery_id, decision) | {"item": shown}
        item = _id(sent)
        region = _subject(sent, store.item(item).picture) if verdict == "fix" else None
        decision = store.decide(item, name, verdict, region, seconds, token)
        return self._saved(gallery_id, decision) | self._with_next(gallery_id, store, sent)

    def go(self, sent: Mapping[str, Any]) -> Json:
        """Go to an item by its id, or (without one) past those that are `passed` to the next."""
        gallery_id = self._gallery_id(sent)
        store, name = self.store(gallery_id), _name(sent)
        if sent.get("item") is None:
            return self._with_next(gallery_id, store, sent)
        return {"item": self._shown(gallery_id, store, store.visit(_id(sent), name), name, sent)}

    def undo(self, sent: Mapping[str, Any]) -> Json:
        """Take back the annotator's last decision (or, with `redo`, put back what was taken back) and go to its item."""
        gallery_id = self._gallery_id(sent)
        store, name = self.store(gallery_id), _name(sent)
        step = store.redo if sent.get("redo") else store.undo
        decision = step(name, sent.get("token"))
        if decision is None:
            raise InputError(f"There is nothing to {'redo' if sent.get('redo') else 'undo'}.")
        item = store.visit(decision.item, name)
        if item.status == "withdrawn":
            others = [other for other in store.siblings(item, name) if other.id != item.id]
            item = store.visit(others[0].id, name) if others else item
        return self._saved(gallery_id, decision) | {"item": self._shown(gallery_id, store, item, name, sent)}

    def progress(self, gallery_id: str) -> Json:
        """How far everyone is, how fast, and how far they agree."""
        store = self.store(gallery_id)
        now = store.progress()
        judged, alpha, overlap = store.agreement()
        people = [
            {
                "name": name,
                "count": count,
                "seconds": round(now.pace[name], 1),
                "known": now.honeypots.get(name),
            }
            for name, count in sorted(now.decided.items(), key=lambda entry: -entry[1])
        ]
        return {
            "counts": dict(now.counts),
            "total": now.total,
            "done": now.done,
            "people": people,
            "agreement": {"items": judged, "alpha": alpha, "iou": overlap},
        }

    def settings(self, sent: Mapping[str, Any]) -> Json:
        """How many annotators shall judge each item."""
        gallery_id = self._gallery_id(sent)
        count = sent.get("judges")
        self.store(gallery_id).want_judges(count if type(count) is int else 0)
        return {"judges": count}

    def store(self, gallery_id: str) -> AnnotationStore:
        """The annotations of a gallery. Raises InputError where it is not there, or its folder cannot be written to."""
        from ssa_me.annotation import AnnotationStore

        path = self._workspace.gallery(gallery_id).folder / DATABASE
        with self._lock:
            if gallery_id not in self._stores or not path.is_file():
                self._stores[gallery_id] = AnnotationStore.open(path)
            return self._stores[gallery_id]

    # Tools

    def snap(self, sent: Mapping[str, Any]) -> Json:
        """The mask that a box or strokes snap to. `sent`: item, bbox or null, inside and outside as masks or null."""
        from ssa_me.annotation.snap import snap

        gallery_id = self._gallery_id(sent)
        picture = self.store(gallery_id).item(_id(sent)).picture
        image = self._workspace.gallery(gallery_id).image(picture.id)
        image.thumbnail((MASK_LONGEST, MASK_LONGEST))  # what the page shows and paints on
        strokes = [_stroke(sent.get(side), image.size) for side in ("inside", "outside")]
        bbox = _box(sent.get("bbox"))
        if bbox is not None:
            across, down = image.width / picture.width, image.height / picture.height
            bbox = (bbox[0] * across, bbox[1] * down, bbox[2] * across, bbox[3] * down)
        return {"mask": _run_lengths(snap(image, bbox, *strokes))}

    def export(self, sent: Mapping[str, Any]) -> Json:
        """Write what the filters let through, and say where it can be fetched. `sent`: gallery, format, filters."""
        from ssa_me.annotation import export

        gallery_id, form = self._gallery_id(sent), sent.get("format")
        if form not in export.FORMATS:
            raise InputError(
                f"There is no format {str(form)[:20]!r}. Choose one of {', '.join(export.FORMATS)}."
            )
        gallery = self._workspace.gallery(gallery_id)
        outcomes = list(self.store(gallery_id).outcomes(_filters(sent)))
        if not outcomes:
            raise InputError("Nothing that is kept passes the filters. Validate some subjects first.")
        token = uuid.uuid4().hex
        target = self._exports_folder() / token
        if form == "imagefolder":
            export.write_image_folder(target, export.records(outcomes, lambda id: gallery.item(id).path))
        else:
            text = export.to_csv(outcomes) if form == "csv" else json.dumps(export.to_coco(outcomes))
            _write(target, text)
        name = f"{gallery_id}-annotations{_EXPORT_NAMES[form]}"
        with self._lock:
            self._exports[token] = target, name
            while len(self._exports) > KEPT_EXPORTS:
                self._exports.popitem(last=False)[1][0].unlink(missing_ok=True)
        return {"url": f"studio/annotations/{token}", "name": name, "count": len(outcomes)}

    def exported(self, token: str) -> tuple[Path, str]:
        """File and name of an export. Raises InputError where there is none."""
        if token not in self._exports:
            raise InputError("That export is no longer here. Make it again.")
        return self._exports[token]

    # Inside

    def _gallery_id(self, sent: Mapping[str, Any]) -> str:
        gallery_id = sent.get("gallery") or self._workspace.default_gallery()
        if gallery_id is None:
            raise InputError("There is no gallery yet. Make one in the Gallery tab.")
        self._workspace.gallery(gallery_id)
        return str(gallery_id)

    def _exports_folder(self) -> Path:
        folder = self._workspace.folder / "exports"
        try:
            folder.mkdir(exist_ok=True)
            if not self._exports:  # of an earlier run: nobody has their addresses
                for file in folder.iterdir():
                    file.unlink()
        except OSError as error:
            raise InputError(
                f"The export could not be written: {error.strerror}. Free some space."
            ) from error
        return folder

    def _fill(self, job: Job, gallery_id: str, source: str) -> JobState:
        from ssa_me.annotation.propose import prepare

        def progress(done: int, of: int) -> None:
            job.report(f"Looking for subjects: {done} of {of} images", done / max(1, of))

        job.report("Waiting for the model …")
        embedder = self._workspace.embedder()
        job.report("Looking for subjects …")
        gallery = self._workspace.gallery(gallery_id)
        prepared = prepare(gallery, embedder, source, progress=progress, cancelled=job.cancelled)
        added = self.store(gallery_id).add(prepared.pictures, prepared.proposals)
        return JobState("done", f"{added:,} subjects were added to the queue.", 1.0)

    def _saved(self, gallery_id: str, decision: Decision) -> Json:
        saved = {"id": decision.id, "item": decision.item, "at": decision.at, "kind": decision.kind}
        return {"saved": saved, "progress": self.progress(gallery_id)}

    def _with_next(
        self, gallery_id: str, store: AnnotationStore, sent: Mapping[str, Any], current: Item | None = None
    ) -> Json:
        """The item that comes next (`current` where there is one) and the one after it, which the page fetches ahead."""
        name, order, filters = _name(sent), str(sent.get("order") or "uncertainty"), _filters(sent)
        passed = [id for id in sent.get("passed") or [] if type(id) is int]
        if current is not None:
            ahead = store.next(name, order, filters, [*passed, current.id], count=1)
            found = [store.visit(current.id, name), *ahead]
        else:
            found = store.next(name, order, filters, passed, count=2)
        blind = store.judges > 1
        shown = [self._shown(gallery_id, store, item, name, sent, blind) for item in found]
        return {"item": shown[0] if shown else None, "ahead": shown[1] if len(shown) > 1 else None}

    def _shown(
        self,
        gallery_id: str,
        store: AnnotationStore,
        item: Item,
        name: str,
        sent: Mapping[str, Any],
        blind: bool | None = None,
    ) -> Json:
        picture = item.picture
        blind = (store.judges > 1 if blind is None else blind) and not sent.get("filters")
        subjects = [_subject_view(other, blind) for other in store.siblings(item, name)]
        shown = self._workspace.gallery(gallery_id).item(picture.id)
        return {
            "id": item.id,
            "image": picture.id,
            "url": views.image_url(gallery_id, shown),
            "thumb": views.thumbnail_url(gallery_id, shown),
            "name": picture.file_name,
            "captions": list(picture.captions),
            "size": [picture.width, picture.height],
            "mask_size": list(mask_size(picture)),
            "subjects": subjects,
            "current": next(n for n, subject in enumerate(subjects) if subject["id"] == item.id),
        }


def mask_size(picture: Picture) -> tuple[int, int]:
    """Width and height at which masks travel: the image's, at most `MASK_LONGEST` on the longer side."""
    scale = min(1.0, MASK_LONGEST / max(picture.width, picture.height))
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _subject_view(item: Item, blind: bool) -> Json:
    """A subject as the annotator sees it: the own decision, else (not where annotators judge blindly) what others made of
    it, else the proposal."""
    subject = item.mine.subject if item.mine else item.proposal.subject if blind else item.result
    mask = None
    if subject.segmentation is not None:
        size = mask_size(item.picture)
        mask = _run_lengths(subject.mask(item.picture.width, item.picture.height), size)
    margin = item.proposal.scores.margin
    return {
        "id": item.id,
        "phrase": subject.phrase,
        "bbox": list(subject.bbox or ()) or None,
        "mask": mask,
        "verdict": item.mine.kind if item.mine else None,
        "status": None if blind and item.mine is None else item.status,
        "source": item.proposal.source,
        "model": item.proposal.fingerprint,
        "margin": None if margin is None else round(margin, 3),
    }


def _run_lengths(mask: np.ndarray, size: tuple[int, int] | None = None) -> Json:
    """Uncompressed RLE of a mask `(H, W)` bool, scaled to `size` (width, height): runs down the columns, zeros first."""
    if size is not None and mask.shape != size[::-1]:
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def _stroke(value: object, size: tuple[int, int]) -> np.ndarray | None:
    return None if value is None else Subject("the stroke", None, _mask(value)).mask(*size)


def _mask(value: object) -> Mapping[str, Any]:
    """A mask as it was sent: bounded before anything is made of it."""
    if isinstance(value, Mapping) and isinstance(value.get("counts"), list):
        size, counts = value.get("size"), value["counts"]
        whole = isinstance(size, Sequence) and len(size) == 2 and all(type(n) is int for n in size)
        if whole and all(0 < n <= MASK_LONGEST for n in size) and all(type(n) is int for n in counts):
            return {"size": list(size), "counts": counts}
    raise InputError("The mask did not arrive whole. Paint it again.")


def _box(value: object) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != 4:
        raise InputError("The box did not arrive whole. Draw it again.")
    x, y, w, h = (_number(number, float("nan")) for number in value)
    if not np.isfinite([x, y, w, h]).all():
        raise InputError("The box did not arrive whole. Draw it again.")
    return x, y, w, h


def _subject(sent: Mapping[str, Any], picture: Picture) -> Subject:
    """The subject that was sent; the library checks it against the image."""
    region = sent.get("subject")
    if not isinstance(region, Mapping) or not isinstance(region.get("phrase"), str):
        raise InputError("The subject did not arrive whole. Try again.")
    subject = Subject(region["phrase"], _box(region.get("bbox")))
    if region.get("mask") is None:
        return subject
    mask = Subject(subject.phrase, None, _mask(region["mask"])).mask(picture.width, picture.height)
    from ssa_me.samples import encode_mask

    return replace(subject, segmentation=encode_mask(mask))


def _filters(sent: Mapping[str, Any]) -> Filters:
    from ssa_me.annotation import Filters

    given = sent.get("filters") or {}
    if not isinstance(given, Mapping):
        raise InputError("The filters did not arrive whole. Choose them again.")
    values = {
        key: str(given[key])[:200] for key in ("phrase", "source", "status", "annotator") if given.get(key)
    }
    return Filters(**values)


def _name(sent: Mapping[str, Any]) -> str:
    from ssa_me.annotation import check_name

    return check_name(sent.get("name"))


def _id(sent: Mapping[str, Any]) -> int:
    id = sent.get("item")
    if type(id) is not int or not 0 < id < 2**62:
        raise InputError("There is no such subject in this queue. Go to the next one.")
    return id


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _job_view(job: Job) -> Json:
    state = job.state
    return {"phase": state.phase, "message": state.message, "fraction": state.fraction}


def _write(target: Path, text: str) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise InputError(f"The export could not be written: {error.strerror}. Free some space.") from error
    finally:
        partial.unlink(missing_ok=True)
