"""`SalientEmbedder`: the facade over backbone, adapters, salience and regeneration.

Text and images in; embeddings of both versions, subject vectors, maps and explanations out. One vision pass serves
both versions. It knows nothing of galleries, pages or training.

B samples, N image tokens, K subjects of an image, D the embedding's width. Boxes are in pixels of the upright image.
Thread-safe: an adapter is shared state, so one lock is held around each batch's passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssa_me.adapters import Adapters
from ssa_me.backbone import MAX_TEXT_TOKENS, Backbone
from ssa_me.checkpoint import (
    BASELINE,
    MINI,
    SETTINGS,
    SSA_ME,
    VERSIONS,
    Parts,
    Settings,
    has_adapter,
    load_parts,
)
from ssa_me.control_maps import ControlMaps, control_maps
from ssa_me.devices import choose_device
from ssa_me.embedding import Embedded, check_versions
from ssa_me.errors import InputError
from ssa_me.explaining import explain
from ssa_me.explanation import Explanation, Region, SalienceMode, Subjects, TokenMaps, salience_mode
from ssa_me.generation import answers
from ssa_me.hub import locate
from ssa_me.model_info import ModelInfo, describe
from ssa_me.outputs import VisualBatch
from ssa_me.passes import Passes, Salient, things_of
from ssa_me.pipeline import full_salience
from ssa_me.redrawing import Redrawn, embed_redrawn
from ssa_me.salience.experts import CachedExpert, OpenCVExpert, VisualExpert, open_expert
from ssa_me.salience.lmm import Listed, LmmSubjects
from ssa_me.salience.regions import TokenRegion, coverage
from ssa_me.salience.subjects import split_phrases
from ssa_me.samples import BBox, Sample

BACKBONE = "backbone"
"""Stands for the language model as it is, where layers are compared."""


class SalientEmbedder:
    """Embeds with the baseline and with SSA-ME. Make one with `load`.

    Where salience is conditioned, "head" is the light way, the trained head (or the OpenCV expert without one); "full"
    the whole pipeline: the language model lists the subjects, a visual expert and semantic relevance find them.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapters: Adapters,
        parts: Parts | None,
        settings: Settings,
        info: ModelInfo,
        expert: VisualExpert,
        full_expert: VisualExpert | None = None,
    ) -> None:
        self.info = info
        self._passes = Passes(backbone, adapters, parts, settings, expert)
        self._exact: Passes | None = None
        self._full_expert = full_expert or expert
        self._lmm = LmmSubjects(self._ask, info.fingerprints[BASELINE])
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        checkpoint: Path | str | None = None,
        device: str = "auto",
        *,
        expert: str = "opencv",
        maps: Path | None = None,
    ) -> SalientEmbedder:
        """Load a checkpoint folder or a hub's id (downloaded once), by default the embedded mini model.

        expert: of the full salience, as `open_expert` reads it. maps: a folder where its maps are kept.

        Without trained adapters the baseline is the backbone as it is and SSA-ME runs training-free: salience from the
        OpenCV expert, suppression only. Raises InputError where the folder is missing, incomplete or does not fit.
        """
        folder = locate(checkpoint if checkpoint is not None else MINI)
        chosen = choose_device(device)
        backbone = Backbone.load(folder, chosen.device, chosen.dtype)
        trained = {version: has_adapter(folder, version) for version in VERSIONS}
        adapters = Adapters(backbone)
        for version in VERSIONS:
            if trained[version]:
                adapters.load(version, folder / version)
        parts, settings = (
            load_parts(folder / SSA_ME, backbone.width) if trained[SSA_ME] else (None, Settings())
        )
        beyond = [layer for layer in settings.layers or () if layer not in range(backbone.layers)]
        if beyond:
            raise InputError(
                f"{folder / SSA_ME / SETTINGS} reads layers {beyond} of a model with {backbone.layers}."
            )
        info = describe(folder, chosen, backbone, trained, settings)
        full_expert = open_expert(expert, chosen)
        if maps is not None:
            full_expert = CachedExpert(full_expert, maps)
        return cls(backbone, adapters, parts, settings, info, OpenCVExpert(), full_expert)

    # --- embedding ---------------------------------------------------------------------------------------------------

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        versions: Sequence[str] = VERSIONS,
        subjects: bool = False,
        conditioned_on: str | None = None,
        salience: SalienceMode = "head",
        batch_size: int = 32,
    ) -> Embedded:
        """Embed texts, images, or images with texts; a sample's result does not depend on its batch. An image that stands in
        several samples is looked at once a batch.

        subjects: also find each image's subjects and embed them, and what each text states. conditioned_on: a text whose subjects salience follows
        instead of being query-free (for re-ranking; the baseline then is its own control, suppressed by the same
        salience without trained parts), by `salience`. Raises InputError for an unknown version.
        """
        phrase = (conditioned_on or "").strip() or None
        full = salience_mode(salience) == "full"
        named: tuple[str, ...] = ()
        if phrase is not None:
            named = self.subjects([Sample(phrase)])[0].phrases if full else self.phrases(phrase)
        check_versions(versions)
        vectors = {v: np.zeros((len(samples), self.info.dimension), dtype=np.float32) for v in versions}
        regions: list[tuple[Region, ...]] = [()] * len(samples)
        none = np.zeros((0, self.info.dimension), dtype=np.float32)
        subject_vectors = {v: [none] * len(samples) for v in versions}
        pictured = [i for i, sample in enumerate(samples) if sample.image is not None]
        spoken = [i for i, sample in enumerate(samples) if sample.image is None]
        for batch in _batches(spoken, batch_size):
            texts = [samples[i].text or "" for i in batch]
            told, stated = self._embed_texts(texts, versions, subjects)
            for version in versions:
                vectors[version][batch] = told[version]
                for i, own in zip(batch, stated.get(version, ()), strict=subjects):
                    subject_vectors[version][i] = own
        for batch in _batches(pictured, batch_size):
            part = self._embed_images([samples[i] for i in batch], versions, subjects, named, full)
            for version in versions:
                vectors[version][batch] = part.vectors[version]
                for i, found in zip(batch, part.subject_vectors[version], strict=True):
                    subject_vectors[version][i] = found
            for i, places in zip(batch, part.regions, strict=True):
                regions[i] = places
        return Embedded(vectors, tuple(regions), {v: tuple(rows) for v, rows in subject_vectors.items()})

    def embed_query(
        self,
        text: str | None,
        image: Image.Image | None,
        image_weight: float = 0.5,
        versions: Sequence[str] = VERSIONS,
    ) -> dict[str, np.ndarray]:
        """Version → (D,) of a query. With both, `image_weight` 0 is the text alone, 0.5 the joint embedding of image
        and text, 1 the image alone; linear between, renormalised."""
        if text is None or not text.strip() or image is None:
            embedded = self.embed([Sample(text, image)], versions=versions)
            return {v: embedded.vectors[v][0] for v in versions}
        if not 0 <= image_weight <= 1:
            raise InputError(f"The image's weight must lie between 0 and 1, not {image_weight}.")
        single = Sample(text) if image_weight < 0.5 else Sample(image=image)
        joint_share = 1 - abs(2 * image_weight - 1)
        needed = [(Sample(text, image), joint_share), (single, 1 - joint_share)]
        needed = [(sample, share) for sample, share in needed if share > 0]
        embedded = self.embed([sample for sample, _ in needed], versions=versions)
        shares = np.array([share for _, share in needed], dtype=np.float32)
        return {v: _unit(shares @ embedded.vectors[v]) for v in versions}

    def embed_region(
        self, image: Image.Image, bbox: BBox, versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        """Version → (D,) of unit length of what is in a box (x, y, width, height in pixels) of an image: a subject vector,
        made as those of the subjects that are found. Raises InputError where no part of the image is in the box."""

        def marked(visual: VisualBatch) -> Sequence[TokenRegion]:
            weights = coverage(visual.boxes[0, : visual.counts()[0]], bbox)
            if not weights.any():
                raise InputError(f"The region {bbox} holds no part of the image. Mark a larger one.")
            return [TokenRegion(weights, bbox, 1.0)]

        return {version: rows[0] for version, rows in self._embed_marked(image, marked, versions).items()}

    def embed_weighted(
        self, image: Image.Image, weights: np.ndarray, versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        """Version → (R, D) of unit length: the subject vectors of regions that lie as `weights` (R, N) in [0, 1] on this
        model's image tokens, such as `explain` gives."""
        nowhere = (0.0, 0.0, 0.0, 0.0)
        regions = [TokenRegion(np.asarray(row, np.float32), nowhere, 1.0) for row in weights]
        return self._embed_marked(image, lambda _: regions, versions)

    def phrases(self, text: str) -> tuple[str, ...]:
        """The subject phrases of a text, in order, at most six."""
        return split_phrases(text)

    def subjects(self, samples: Sequence[Sample]) -> list[Listed]:
        """The subjects that the language model lists: of a text, of a pair, or of an image, which it describes first.
        The rule of `phrases` where its answer is of no use. Remembered by content."""
        return self._lmm(samples)

    def reads_whole(self, text: str) -> bool:
        """Whether the model reads all of a text; a longer one is cut at 512 tokens."""
        with self._locked():  # a fast tokenizer does not bear two threads at once
            return len(self._passes.backbone.text_ids(text)) < MAX_TEXT_TOKENS

    # --- explaining --------------------------------------------------------------------------------------------------

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[str | None]) -> list[TokenMaps]:
        """Each image's attention and salience: with a phrase the attention of image and phrase together and the
        salience conditioned on it, with None those of the image alone. Raises InputError for unequal lengths."""
        _check_paired(images, phrases)
        result = []
        for batch in _batches(list(range(len(images))), 32):
            with self._locked():
                visual = self._passes.backbone.vision_pass([images[i] for i in batch])
                named = [phrases[i] for i in batch]
                found = self._passes.salience(visual, [images[i] for i in batch], named)
                attention = self._passes.attention(visual, found, [phrase or "" for phrase in named])
            salience = found.salience.float().cpu().numpy()
            for b, count in enumerate(visual.counts()):
                rows = {v: attention[v][b, :count] for v in VERSIONS}
                result.append(TokenMaps(visual.boxes[b, :count], rows, salience[b, :count]))
        return result

    def reads_claims(self, version: str) -> bool:
        """Whether image and text read together tell if the text is true: a re-ranking reads its candidates so, others
        by the image alone, under the salience that the text conditions. Both versions learned it, or neither."""
        return self._passes.settings.claims

    def has_codes(self, version: str) -> bool:
        """Whether a version's subjects have trained codes, so that what is indexed of an image tells whose words belong
        together."""
        composed = self._passes.distilled and bool(self._passes.parts.composition.gates.any())
        return version == SSA_ME and composed

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The language layers whose attention is read; None is the second half of them."""
        return self._passes.settings.layers

    def layer_maps(
        self, images: Sequence[Image.Image], phrases: Sequence[str]
    ) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Each image's boxes (N, 4) and version → (L, N), the attention of image and phrase layer by layer with sinks
        removed; beside both versions that of "backbone", without an adapter. One batch."""
        versions = (BACKBONE, *VERSIONS)
        with self._locked():
            visual = self._passes.backbone.vision_pass(images)
            found = self._passes.salience(visual, images, list(phrases))
            attention = self._passes.layer_attention(visual, found, phrases, versions)
        return [
            (visual.boxes[b, :count], {v: attention[v][b, :, :count] for v in versions})
            for b, count in enumerate(visual.counts())
        ]

    def control_maps(self, images: Sequence[Image.Image], phrases: Sequence[str]) -> list[ControlMaps]:
        """What salience is held against, for each image and its phrase: the backbone's raw attention, and each version's
        gradient map. Raises InputError for unequal lengths."""
        _check_paired(images, phrases)
        result = []
        for batch in _batches(list(range(len(images))), 32):
            with self._lock:  # no inference mode: gradients are wanted
                result += control_maps(self._passes, [images[i] for i in batch], [phrases[i] for i in batch])
        return result

    def explain(
        self,
        image: Image.Image,
        text: str | None,
        phrases: Sequence[str] | None = None,
        salience: SalienceMode = "head",
        also: Sequence[str] = (),
        heads: bool = False,
    ) -> Explanation:
        """Everything about one image and one text: both attentions, every stage of salience, subjects aligned.

        phrases: subjects to look for (default: those of the text; under "full" those that the language model lists, of
        the image where there is no text). The attention and the stages are conditioned on them, by `salience`;
        similarity and subject vectors are those of the index, query-free. Without phrases all maps are query-free and
        nothing is aligned. also: further phrases to align, which condition nothing. heads: keep the attention of each
        layer and head. Raises InputError for an unknown salience.
        """
        subjects = self._named(image, text or "", phrases, salience_mode(salience))
        with self._locked():
            expert = self._full_expert if salience == "full" else self._passes.expert
            return explain(self._passes, image, text or "", subjects, salience, expert, also, heads)

    def embed_redrawn(self, image: Image.Image, drawn: Sequence[BBox]) -> Redrawn:
        """Both versions' embedding of an image with regions that someone drew (x, y, width, height in pixels) in place of
        those that are found. Raises InputError where there are too many, or one lies outside of the image."""
        with self._locked():
            return embed_redrawn(self._passes, image, drawn)

    @contextmanager
    def exact(self) -> Iterator[Passes]:
        """The passes in float32 and outside of inference mode, for attributions; the lock is held meanwhile.

        They are the model's own where it runs in float32, else those of a copy that is made at the first call (InputError
        where it does not fit). Whoever uses them leaves every weight as it is.
        """
        with self._lock:
            if self._exact is None:
                plain = self._passes.backbone.dtype == torch.float32
                self._exact = self._passes if plain else self._passes.copied()
            yield self._exact

    # --- inside: callers hold the lock -------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock, torch.inference_mode():
            yield

    def _ask(self, prompts: Sequence[str], images: Sequence[Image.Image | None]) -> list[str]:
        with self._locked():
            self._passes.adapters.use(None)
            return answers(self._passes.backbone, prompts, images)

    def _named(
        self, image: Image.Image, text: str, phrases: Sequence[str] | None, salience: SalienceMode
    ) -> Subjects:
        if phrases is not None:
            return Subjects(tuple(phrases))
        if salience == "head":
            return Subjects(self.phrases(text), "rule")
        started = time.perf_counter()
        (listed,) = self.subjects([Sample(text) if text.strip() else Sample(image=image)])
        took = {"subjects": time.perf_counter() - started}
        return Subjects(listed.phrases, listed.source, listed.described, took)

    def _embed_texts(
        self, texts: Sequence[str], versions: Sequence[str], stated: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, list[np.ndarray]]]:
        """Version → vectors of the texts, and where asked for what each states."""
        with self._locked():
            told, statements = self._passes.tell(texts, versions, stated)
            return (
                {v: rows.cpu().numpy() for v, rows in told.items()},
                {v: [own.cpu().numpy() for own in of_all] for v, of_all in statements.items()},
            )

    def _embed_images(
        self,
        samples: Sequence[Sample],
        versions: Sequence[str],
        subjects: bool,
        named: Sequence[str],
        full: bool,
    ) -> Embedded:
        images = [sample.image for sample in samples if sample.image is not None]
        distinct = list({id(image): image for image in images}.values())
        with self._locked():
            visual = self._passes.backbone.vision_pass(distinct)
            needed = subjects or named or SSA_ME in versions
            found = self._salience(visual, distinct, named, full) if needed else None
            if len(distinct) < len(images):
                rows_of = {id(image): row for row, image in enumerate(distinct)}
                order = [rows_of[id(image)] for image in images]
                visual, found = visual.select(order), found.select(order) if found else None
            texts = [sample.text or "" for sample in samples]
            passes = self._passes.read(texts, visual, found, versions, control=bool(named))
            rows = self._passes.vectors(passes, texts, visual, found)
            vectors = {version: of_all.cpu().numpy() for version, of_all in rows.items()}
            if not subjects or found is None:
                empty = tuple(np.zeros((0, self.info.dimension), dtype=np.float32) for _ in images)
                return Embedded(vectors, tuple(() for _ in images), dict.fromkeys(versions, empty))
            things = {
                v: self._passes.region_vectors(v, output, visual, found) for v, output in passes.items()
            }
        sizes = [image.size for image in images]
        return Embedded(vectors, tuple(map(things_of, found.regions, sizes)), things)

    def _embed_marked(
        self,
        image: Image.Image,
        mark: Callable[[VisualBatch], Sequence[TokenRegion]],
        versions: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Version → (R, D) of the regions that `mark` gives of the image's tokens; takes the lock itself."""
        with self._locked():
            visual = self._passes.backbone.vision_pass([image])
            regions = tuple(mark(visual))
            found = self._passes.salience(visual, [image], [None])
            passes = self._passes.read([""], visual, found, versions)
            marked = Salient(found.salience, (regions,), found.asked)
            return {v: self._passes.subject_vectors(v, out, visual, marked)[0] for v, out in passes.items()}

    def _salience(
        self, visual: VisualBatch, images: Sequence[Image.Image], named: Sequence[str], full: bool
    ) -> Salient:
        """Query-free where nothing is named, else the largest salience over what is."""
        if named and full:
            return full_salience(self._passes, self._full_expert, visual, images, named)
        return self._passes.salience_of_any(visual, images, named)


def _check_paired(images: Sequence[Image.Image], phrases: Sequence[str | None]) -> None:
    if len(images) != len(phrases):
        raise InputError(
            f"There are {len(images)} images for {len(phrases)} phrases; give one phrase an image."
        )


def _batches(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
