"""What the Annotate tab asks of a workspace: the queue of a gallery, decisions, snapping, exports. Knows no page.

A gallery's annotations lie in its folder. Every function checks what it is given: any value can come from a forged
request. Whether annotating is allowed at all is its caller's to check.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import views
from app.annotation_effect import EffectCache, effect_view
from app.annotation_wire import (
    MASK_LONGEST,
    box_of,
    filters_of,
    id_of,
    image_of,
    is_blind,
    mask_size,
    name_of,
    number_of,
    run_lengths,
    stroke_of,
    subject_of,
    subject_view,
)
from app.jobs import Job, JobState
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.annotation import AnnotationStore, Decision, Item
    from ssa_me.gallery.items import Item as GalleryItem
    from ssa_me.samples import Record

Json = dict[str, Any]

DATABASE = "annotations.sqlite"
KEPT_EXPORTS = 20
_EXPORT_NAMES = {"imagefolder": ".zip", "coco": ".coco.json", "csv": ".csv"}


class Annotating:
    """The annotations of a workspace's galleries. Thread-safe as that is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._stores: dict[str, AnnotationStore] = {}
        self._jobs: dict[str, Job] = {}
        self._exports: OrderedDict[str, tuple[Path, str]] = OrderedDict()
        self._redrawn = EffectCache()
        self._lock = threading.RLock()

    # The queue

    def arrive(self, sent: Mapping[str, Any]) -> Json:
        """Where an annotator is: the item to go on with, that of an `image` where one is asked for, or what to do first.
        `sent`: gallery, name, order, filters, image."""
        gallery_id = self._gallery_id(sent)
        store, job = self.store(gallery_id), self._jobs.get(gallery_id)
        if job is not None and job.running and store.count() == 0:
            return {"gallery": gallery_id, "preparing": _job_view(job)}
        failed = _job_view(job) if job is not None and job.state.phase == "failed" else None
        if store.count() == 0:
            subjects = any(item.subjects for item in self._workspace.gallery(gallery_id).items(0, 20))
            return {"gallery": gallery_id, "empty": {"subjects": subjects}, "failed": failed}
        if not sent.get("name"):
            return {"gallery": gallery_id, "nameless": True}
        if sent.get("image") is None:
            item = store.resume(name_of(sent))
            current = item if item and item.mine is None else None
            shown = self._with_next(gallery_id, store, sent, current=current)
        else:
            shown = self.go(sent)
        return shown | {"gallery": gallery_id, "progress": self.progress(gallery_id), "judges": store.judges}

    def prepare(self, sent: Mapping[str, Any]) -> Json:
        """Begin to fill a gallery's queue from its "data" or by the "model", for all images or for one `image`; a job, of
        which there is one at a time. With `stop` it ends with what was found so far, with `look` it is only looked at."""
        gallery_id, source = self._gallery_id(sent), sent.get("source")
        job = self._jobs.get(gallery_id)
        if sent.get("stop") or sent.get("look"):
            if job is not None and sent.get("stop"):
                job.cancel()
            return {"gallery": gallery_id, "preparing": _job_view(job) if job else None}
        if source not in ("data", "model"):
            raise InputError("Subjects can be proposed from the data or by the model. Choose one of them.")
        image = None if sent.get("image") is None else image_of(sent)
        if image is not None:
            self._workspace.gallery(gallery_id).item(image)
        with self._lock:
            if any(job.running for job in self._jobs.values()):
                raise InputError("Another queue is being filled. Wait for it.")
            job = Job(gallery_id, lambda job: self._fill(job, gallery_id, str(source), image))
            self._jobs[gallery_id] = job.start()
        return {"gallery": gallery_id, "preparing": _job_view(job)}

    def decide(self, sent: Mapping[str, Any]) -> Json:
        """Record a verdict on an item, or a subject that was added to its image, and say what comes next (after a new
        subject the same item). It is on the disk by then."""
        gallery_id = self._gallery_id(sent)
        store, name, verdict = self.store(gallery_id), name_of(sent), str(sent.get("verdict"))
        seconds, token = number_of(sent.get("seconds"), 0.0), sent.get("token")
        if verdict == "add":
            picture = store.item(id_of(sent)).picture
            decision = store.add_subject(picture.id, name, subject_of(sent, picture), seconds, token)
            shown = self._shown(gallery_id, store, store.visit(id_of(sent), name), name, sent)
            return self._saved(gallery_id, decision) | {"item": shown}
        item = id_of(sent)
        region = subject_of(sent, store.item(item).picture) if verdict == "fix" else None
        decision = store.decide(item, name, verdict, region, seconds, token)
        return self._saved(gallery_id, decision) | self._with_next(gallery_id, store, sent)

    def go(self, sent: Mapping[str, Any]) -> Json:
        """Go to an item by its id, to the first of an `image`, or (without either) past those that are `passed` to the next.
        Of an image without any item it is said what there is to do: {"unproposed": …}."""
        gallery_id = self._gallery_id(sent)
        store, name = self.store(gallery_id), name_of(sent)
        if sent.get("image") is not None:
            image = self._workspace.gallery(gallery_id).item(image_of(sent))
            first = store.first_of(image.id)
            if first is None:
                return {"unproposed": _unproposed(gallery_id, image)}
            sent = {**sent, "item": first}
        if sent.get("item") is None:
            return self._with_next(gallery_id, store, sent)
        return {"item": self._shown(gallery_id, store, store.visit(id_of(sent), name), name, sent)}

    def undo(self, sent: Mapping[str, Any]) -> Json:
        """Take back the annotator's last decision (or, with `redo`, put back what was taken back) and go to its item."""
        gallery_id = self._gallery_id(sent)
        store, name = self.store(gallery_id), name_of(sent)
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

    def validated(self, gallery_id: str) -> list[Record]:
        """The images of a gallery with the subjects that were accepted, fixed or added, to train on."""
        from ssa_me.annotation import export

        gallery = self._workspace.gallery(gallery_id)
        return export.records(self.store(gallery_id).outcomes(), lambda id: gallery.item(id).path)

    # Tools

    def snap(self, sent: Mapping[str, Any]) -> Json:
        """The mask that a box or strokes snap to. `sent`: item, bbox or null, inside and outside as masks or null."""
        from ssa_me.annotation.snap import snap

        gallery_id = self._gallery_id(sent)
        picture = self.store(gallery_id).item(id_of(sent)).picture
        image = self._workspace.gallery(gallery_id).image(picture.id)
        image.thumbnail((MASK_LONGEST, MASK_LONGEST))  # what the page shows and paints on
        strokes = [stroke_of(sent.get(side), image.size) for side in ("inside", "outside")]
        bbox = box_of(sent.get("bbox"))
        if bbox is not None:
            across, down = image.width / picture.width, image.height / picture.height
            bbox = (bbox[0] * across, bbox[1] * down, bbox[2] * across, bbox[3] * down)
        return {"mask": run_lengths(snap(image, bbox, *strokes))}

    def export(self, sent: Mapping[str, Any]) -> Json:
        """Write what the filters let through, and say where it can be fetched. `sent`: gallery, format, filters."""
        from ssa_me.annotation import export

        gallery_id, form = self._gallery_id(sent), sent.get("format")
        if form not in export.FORMATS:
            raise InputError(
                f"There is no format {str(form)[:20]!r}. Choose one of {', '.join(export.FORMATS)}."
            )
        gallery = self._workspace.gallery(gallery_id)
        outcomes = list(self.store(gallery_id).outcomes(filters_of(sent)))
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

    def effect(self, sent: Mapping[str, Any], examples: Sequence[str]) -> Json:
        """What the judged regions would change for the query that was sent, or for the last search and the `examples`."""
        gallery_id = self._gallery_id(sent)
        gallery, embedder = self._workspace.gallery(gallery_id), self._workspace.embedder()
        asked = [str(sent.get(key) or "").strip()[:500] for key in ("query", "last")]
        texts = [asked[0]] if asked[0] else [text for text in dict.fromkeys([asked[1], *examples]) if text]
        outcomes = list(self.store(gallery_id).outcomes(kind="all"))
        return effect_view(gallery_id, gallery, embedder, outcomes, texts, self._redrawn)

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

    def _fill(self, job: Job, gallery_id: str, source: str, image: int | None) -> JobState:
        from ssa_me.annotation import Filters
        from ssa_me.annotation.propose import prepare

        def progress(done: int, of: int) -> None:
            job.report(f"Looking for subjects: {done} of {of} images", done / max(1, of))

        job.report("Waiting for the model …")
        embedder = self._workspace.embedder()
        job.report("Looking for subjects …")
        gallery = self._workspace.gallery(gallery_id)
        prepared = prepare(gallery, embedder, source, progress=progress, cancelled=job.cancelled, image=image)
        store = self.store(gallery_id)
        store.add(prepared.pictures, prepared.proposals)
        nothing = store.count(Filters(source="none"))
        without = f"; in {nothing:,} of the images nothing was found" if nothing else ""
        return JobState("done", f"The queue holds {store.count() - nothing:,} subjects{without}.", 1.0)

    def _saved(self, gallery_id: str, decision: Decision) -> Json:
        saved = {"id": decision.id, "item": decision.item, "at": decision.at, "kind": decision.kind}
        return {"saved": saved, "progress": self.progress(gallery_id)}

    def _with_next(
        self, gallery_id: str, store: AnnotationStore, sent: Mapping[str, Any], current: Item | None = None
    ) -> Json:
        """The item that comes next (`current` where there is one) and the one after it, which the page fetches ahead."""
        name, order, filters = name_of(sent), str(sent.get("order") or "uncertainty"), filters_of(sent)
        passed = [id for id in sent.get("passed") or [] if type(id) is int]
        if current is not None:
            ahead = store.next(name, order, filters, [*passed, current.id], count=1)
            found = [store.visit(current.id, name), *ahead]
        else:
            found = store.next(name, order, filters, passed, count=2)
        judges = store.judges
        shown = [self._shown(gallery_id, store, item, name, sent, judges) for item in found]
        return {"item": shown[0] if shown else None, "ahead": shown[1] if len(shown) > 1 else None}

    def _shown(
        self,
        gallery_id: str,
        store: AnnotationStore,
        item: Item,
        name: str,
        sent: Mapping[str, Any],
        judges: int | None = None,
    ) -> Json:
        """An item as the page takes it: its image and all subjects of that; what has no phrase only where it is the item."""
        picture, filters = item.picture, filters_of(sent)
        judges = store.judges if judges is None else judges
        beside = store.siblings(item, name)
        shown_of = [subject_view(other, is_blind(other, judges, filters)) for other in beside]
        subjects = [view for view in shown_of if view["phrase"] or view["id"] == item.id]
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


def _unproposed(gallery_id: str, image: GalleryItem) -> Json:
    """An image of the gallery in which nobody has looked for subjects; `subjects`: whether its data names some."""
    return {
        "image": image.id,
        "name": image.file_name,
        "caption": image.captions[0] if image.captions else "",
        "thumb": views.thumbnail_url(gallery_id, image),
        "subjects": bool(image.subjects),
    }


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
