"""The one object that the page talks to: models, galleries, uploads and jobs of one workspace folder.

Knows no page: it imports no gradio. Everything it is asked for it checks itself, because a client can forge any value.
All of it may be used from several threads at once. Nothing is written outside the workspace folder.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import permalink, unfinished, views
from app.annotating import Annotating
from app.cache import json_bytes
from app.duplicates import Duplicates
from app.failures import FailureRuns
from app.inspecting import Inspector
from app.jobs import Job, JobState
from app.making import Making, put
from app.opponents import Opponents
from app.permalink import SearchState
from app.searching import Searching, salience_of, wanted
from app.tending import Tending
from app.training import Training
from app.uploads import Upload, UploadStore
from ssa_me.byte_cache import ByteCache
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.zero_gpu import Lend
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.store import Gallery
    from ssa_me.model_info import ModelInfo

DEMO = "scenes"
DEMO_NAME = "Scenes"
DEMO_SEED = 500_001  # far from the seeds that the embedded model was trained on
DEMO_SOURCE = "source"
EXPLANATION_BYTES = 64 * 2**20


@dataclass(frozen=True)
class GalleryCard:
    """A gallery in the list: its id (the name of its folder), its name, and how many images it holds."""

    id: str
    name: str
    count: int


class Workspace:
    """Galleries, uploads and the model of one folder. `load` is what loads the model, by default the embedder's own; `lend`
    what lends it a GPU for each call, where that is how one is had."""

    def __init__(
        self,
        folder: Path,
        checkpoint: str | None = None,
        device: str = "auto",
        expert: str = "opencv",
        *,
        demo_images: int = 400,
        load: Callable[[], SalientEmbedder] | None = None,
        lend: Lend | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.checkpoint, self.device, self._expert = checkpoint, device, expert
        self._demo_images = demo_images
        self._load, self._lend = load or self._load_embedder, lend
        self.galleries_folder = self.folder / "galleries"
        self.galleries_folder.mkdir(parents=True, exist_ok=True)
        self.uploads = UploadStore(self.folder / "uploads")
        self._embedder: SalientEmbedder | None = None
        self._galleries: dict[str, Gallery] = {}
        self._lock = threading.RLock()
        self._start = Job("start", self._prepare)
        self._explanations: ByteCache[views.Json] = ByteCache(EXPLANATION_BYTES, json_bytes)
        self.opponents = Opponents(self, self._load_version if lend is None else None)
        self.failures = FailureRuns(self.folder, self.gallery, self.opponents)
        self.searching = Searching(self)
        self.making = Making(self)
        self.tending = Tending(self)
        self.duplicates = Duplicates(self)
        self.inspector = Inspector(self)
        self.annotating = Annotating(self)
        self.training = Training(self, validated=self.annotating.validated)

    # Starting

    def start(self) -> Workspace:
        """Find what was interrupted; load the model, then open or build the demo gallery, in the background."""
        unfinished.rescue(self.galleries_folder)
        self._start.start()
        self.training.start()
        return self

    def load(self) -> None:
        """Load the model now, before `start`: a GPU that is lent takes what is loaded before the page is served. What is
        wrong with the model, `start` finds again and says."""
        with suppress(InputError):
            self._embedder = self._load()

    def reload(self) -> None:
        """Load the model anew, in the background, where another version is to be used. InputError where a GPU is lent."""
        if self._lend is not None:
            raise InputError("The version is chosen. It is loaded when this Space starts anew: restart it.")
        with self._lock:
            self._embedder = None
            self.opponents.forget()
            self._start = Job("start", self._prepare).start()

    @property
    def starting(self) -> JobState:
        """How far the start has come; `phase` is done once everything works, failed with the reason otherwise."""
        return self._start.state

    def embedder(self) -> SalientEmbedder:
        """The model, waited for if need be. Raises InputError with the reason where it cannot be loaded."""
        while self._embedder is None:
            state = self._start.wait(0.1)
            if state.phase == "failed":
                raise InputError(state.message)
        return self._embedder

    def model(self) -> ModelInfo | None:
        """What is known of the model; None until it is loaded."""
        return self._embedder.info if self._embedder else None

    # Galleries

    def galleries(self) -> list[GalleryCard]:
        """All galleries that hold something or could go on, the demo gallery first, empty ones last, then by name. What is
        damaged is left out."""
        cards = []
        for folder in self.galleries_folder.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                try:
                    gallery = self.gallery(folder.name)
                    if len(gallery) or unfinished.is_interrupted(gallery):
                        cards.append(GalleryCard(folder.name, gallery.name, len(gallery)))
                except InputError:
                    continue
        return sorted(cards, key=lambda c: (not c.count, c.id != DEMO, c.name.casefold(), c.id))

    def gallery(self, gallery_id: object) -> Gallery:
        """The gallery of that id. Raises InputError where there is none."""
        from ssa_me.gallery.store import Gallery

        name = permalink.check_gallery_id(gallery_id)
        with self._lock:
            if name not in self._galleries:
                folder = self.galleries_folder / name
                if not folder.is_dir():
                    raise InputError(
                        f"There is no gallery {name!r} here (any more). Choose one from the list."
                    )
                try:
                    self._galleries[name] = Gallery.open(folder)
                except InputError as error:
                    raise InputError(str(error).replace(str(folder), f"The gallery {name!r}")) from None
            return self._galleries[name]

    def discard(self, gallery_id: str) -> None:
        """Delete a gallery that the page has made and nothing came into."""
        with self._lock:
            self._galleries.pop(gallery_id, None)
            shutil.rmtree(self.galleries_folder / gallery_id, ignore_errors=True)

    def default_gallery(self) -> str | None:
        """The id of the gallery that opens first; None while there is none."""
        cards = self.galleries()
        return cards[0].id if cards else None

    def page(
        self, gallery_id: object, offset: int, limit: int = 60, against: str | None = None
    ) -> views.Json:
        """One page of a gallery's images. lacking: how many have no vectors of the model, or of the version `against`.
        Raises InputError where there is no such gallery or version."""
        gallery = self.gallery(gallery_id)
        count = len(gallery)
        offset = min(max(0, offset), max(0, count - 1)) // limit * limit
        items = [views.item_view(str(gallery_id), item) for item in gallery.items(offset, limit)]
        return {
            "lacking": self.making.lacking(gallery, against),
            "against": self.opponents.name(against),
            "unfinished": unfinished.unfinished_view(gallery),
            "id": gallery_id,
            "name": gallery.name,
            "count": count,
            "offset": offset,
            "limit": limit,
            "items": items,
        }

    # Searching

    def query_image(self, digest: str | None) -> Upload | None:
        return self.uploads.describe(digest) if digest else None

    def search(self, state: SearchState, rankings: Sequence[str] = ()) -> views.Json:
        """Both lists of a search as the page shows them. Raises InputError where the query makes no sense."""
        return self.searching.view(state, rankings)

    def explain(self, state: SearchState, item_id: int) -> views.Json:
        """What the page shows of an opened image. Raises InputError where gallery or image is gone."""
        gallery_id = self.gallery_id(state)
        gallery = self.gallery(gallery_id)
        item = gallery.item(item_id)
        embedder = self.opponents.embedder(state.against)
        text, salience = wanted(state.text), salience_of(state.salience)
        models = (*embedder.info.fingerprints.items(), *embedder.info.titles.items())
        key = (models, gallery_id, str(gallery.folder), item_id, text, salience)
        view = self._explanations.get(key)
        if view is None:
            explanation = embedder.explain(gallery.image(item_id), text, salience=salience)
            view = views.explanation_view(gallery_id, item, explanation)
            view |= {"titles": dict(embedder.info.titles)}
            self._explanations.put(key, view)
        return view

    def keep_image(self, gallery_id: object, item_id: object) -> str:
        """Keep an image of a gallery as a query image; returns its hash. Raises InputError where it is not there."""
        if type(item_id) is not int:
            raise InputError("There is no such image. Open the gallery again.")
        gallery = self.gallery(gallery_id)
        return self.uploads.add_image(gallery.image(item_id)).hash

    def explain_json(
        self, text: str | None, image: bytes, name: str, salience: str = permalink.SALIENCES[0]
    ) -> dict[str, Any]:
        """The explanation of an image that is in no gallery, as the commands print it (without files)."""
        from ssa_me.images import load_image

        explanation = self.embedder().explain(load_image(image, name), text, salience=salience_of(salience))
        return explanation.to_json() | {"files": []}

    # Inside

    def _load_embedder(self) -> SalientEmbedder:
        embedder = self._load_version(self.training.checkpoint_in_use() or self.checkpoint)
        if self._lend is None:
            return embedder
        from app.lent import LentEmbedder

        return LentEmbedder(embedder, self._lend)

    def _load_version(self, checkpoint: Path | str | None) -> SalientEmbedder:
        from ssa_me.embedder import SalientEmbedder

        maps = self.folder / "maps"
        return SalientEmbedder.load(checkpoint, self.device, expert=self._expert, maps=maps)

    def _prepare(self, job: Job) -> JobState:
        job.report("Loading the model …")
        embedder = self._embedder = self._embedder or self._load()
        if self._demo_images:
            self._prepare_demo(job, embedder)
        return JobState("done", "Ready.", 1.0)

    def _prepare_demo(self, job: Job, embedder: SalientEmbedder) -> None:
        """Draw the demo gallery's scenes once; embed what is not embedded yet. It can be searched from its first
        images on, and goes on where it was where the last start was interrupted or had another checkpoint."""
        from ssa_me.gallery.items import Spaces
        from ssa_me.scenes import write_scenes

        def drawn(done: int, of: int) -> None:
            job.report(f"Drawing the demo gallery: {done} of {of} scenes", done / of)

        if not (self.galleries_folder / DEMO).is_dir():
            with unfinished.making(self.galleries_folder / DEMO, DEMO_NAME, embedder) as new:
                write_scenes(new.folder / DEMO_SOURCE, self._demo_images, DEMO_SEED, progress=drawn)
        gallery = self.gallery(DEMO)
        lacks = len(gallery) < self._demo_images or gallery.lacking(Spaces(embedder.info.fingerprints))
        if lacks or unfinished.is_interrupted(gallery):
            put(job, gallery, gallery.folder / DEMO_SOURCE, embedder)

    def gallery_id(self, state: SearchState) -> str:
        """The id of a search's gallery, else the first. Raises InputError where there is none."""
        gallery_id = state.gallery or self.default_gallery()
        if gallery_id is None and self.starting.phase == "running":
            raise InputError("The demo gallery is still being made. Search again in a moment.")
        if gallery_id is None:
            raise InputError("There is no gallery yet. Make one in the Gallery tab.")
        return gallery_id
