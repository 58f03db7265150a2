"""`SalientEmbedder`: the facade over backbone, adapters, salience and regeneration.

Text and images in; embeddings of both versions, subject vectors, maps and explanations out. One vision pass serves
both versions. It knows nothing of galleries, pages or training.

B samples, N image tokens, K subjects of an image, D the embedding's width. Boxes are in pixels of the upright image.
Thread-safe: an adapter is shared state, so one lock is held around each batch's passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone, LanguagePass, VisualBatch
from ssa_me.checkpoint import (
    BASELINE,
    MINI,
    SSA_ME,
    VERSIONS,
    Parts,
    Settings,
    fingerprints,
    has_adapter,
    load_parts,
)
from ssa_me.devices import Device, choose_device
from ssa_me.errors import InputError
from ssa_me.explanation import Alignment, Candidate, Explanation, Region, TokenMaps, align
from ssa_me.regeneration import Regenerated, aggregate
from ssa_me.salience import relevance
from ssa_me.salience.experts import OpenCVExpert, VisualExpert
from ssa_me.salience.fusion import fuse, to_tokens
from ssa_me.salience.regions import TokenRegion, peaks
from ssa_me.salience.subjects import split_phrases
from ssa_me.samples import Sample

__all__ = [
    "BASELINE", "SSA_ME", "VERSIONS", "Alignment", "Embedded", "Explanation", "ModelInfo", "Region", "SalientEmbedder",
    "TokenMaps",
]  # fmt: skip

MOST_SUBJECTS = 6


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded, where it runs and why. fingerprints and trained: version → hash; has a trained adapter."""

    name: str
    checkpoint: str
    family: str
    device: str
    precision: str
    reason: str
    parameters: int
    dimension: int
    fingerprints: Mapping[str, str]
    trained: Mapping[str, bool]
    knows: str


@dataclass(frozen=True)
class Embedded:
    """Embeddings of B samples. vectors: version → (B, D) float32 of unit length. regions: each image's query-free
    subjects, K_b ≤ 6, empty for texts. subject_vectors: version → B arrays (K_b, D) of unit length."""

    vectors: Mapping[str, np.ndarray]
    regions: tuple[tuple[Region, ...], ...]
    subject_vectors: Mapping[str, tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class _Salient:
    """Salience of a batch: (B, N) in [0, 1], and the regions of its peaks."""

    salience: Tensor
    regions: tuple[tuple[TokenRegion, ...], ...]

    def stacked(self) -> Tensor:
        """(B, K, N) region weights, zeros where an image has fewer than the most."""
        batch, tokens = self.salience.shape
        stacked = np.zeros((batch, max((len(r) for r in self.regions), default=0), tokens), dtype=np.float32)
        for b, regions in enumerate(self.regions):
            for k, region in enumerate(regions):
                stacked[b, k, : len(region.weights)] = region.weights
        return torch.from_numpy(stacked).to(self.salience.device, self.salience.dtype)


class SalientEmbedder:
    """Embeds with the baseline and with SSA-ME. Make one with `load`."""

    def __init__(
        self,
        backbone: Backbone,
        adapters: Adapters,
        parts: Parts | None,
        settings: Settings,
        info: ModelInfo,
        expert: VisualExpert,
    ) -> None:
        self.info = info
        self._backbone, self._adapters, self._settings, self._expert = backbone, adapters, settings, expert
        self._distilled = parts is not None
        fresh = parts if parts is not None else Parts(backbone.width, settings)
        self._parts = fresh.to(backbone.device, backbone.dtype).eval()
        self._lock = threading.RLock()

    @classmethod
    def load(cls, checkpoint: Path | str | None = None, device: str = "auto") -> SalientEmbedder:
        """Load a checkpoint folder, by default the embedded mini model.

        Without trained adapters the baseline is the backbone as it is and SSA-ME runs training-free: salience from the
        OpenCV expert, suppression only. Raises InputError where the folder is missing, incomplete or does not fit.
        """
        folder = Path(checkpoint) if checkpoint is not None else MINI
        if not folder.is_dir():
            raise InputError(
                f"There is no checkpoint folder {folder}. Give the folder of a {'/'.join(_FAMILY_NAMES)} checkpoint "
                "(config.json, *.safetensors, tokenizer, preprocessor_config.json), or leave --checkpoint out."
            )
        chosen = choose_device(device)
        backbone = Backbone.load(folder, chosen.device, chosen.dtype)
        trained = {version: has_adapter(folder, version) for version in VERSIONS}
        adapters = Adapters(backbone)
        for version in VERSIONS:
            if trained[version]:
                adapters.load(version, folder / version)
        parts, settings = load_parts(folder / SSA_ME, backbone.width) if trained[SSA_ME] else (None, Settings())
        info = _describe(folder, chosen, backbone, trained, settings)
        return cls(backbone, adapters, parts, settings, info, OpenCVExpert())

    # --- embedding ---------------------------------------------------------------------------------------------------

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        versions: Sequence[str] = VERSIONS,
        subjects: bool = False,
        conditioned_on: str | None = None,
        batch_size: int = 32,
    ) -> Embedded:
        """Embed texts, images, or images with texts; a sample's result does not depend on its batch.

        subjects: also find each image's subjects and embed them. conditioned_on: a phrase that salience follows
        instead of being query-free (for re-ranking). Raises InputError for an unknown version.
        """
        unknown = sorted(set(versions) - set(VERSIONS))
        if unknown:
            raise InputError(f"There is no version {', '.join(unknown)}. Versions: {', '.join(VERSIONS)}.")
        vectors = {v: np.zeros((len(samples), self.info.dimension), dtype=np.float32) for v in versions}
        regions: list[tuple[Region, ...]] = [()] * len(samples)
        none = np.zeros((0, self.info.dimension), dtype=np.float32)
        subject_vectors = {v: [none] * len(samples) for v in versions}
        pictured = [i for i, sample in enumerate(samples) if sample.image is not None]
        spoken = [i for i, sample in enumerate(samples) if sample.image is None]
        for batch in _batches(spoken, batch_size):
            for version, texts in self._embed_texts([samples[i].text or "" for i in batch], versions).items():
                vectors[version][batch] = texts
        for batch in _batches(pictured, batch_size):
            part = self._embed_images([samples[i] for i in batch], versions, subjects, conditioned_on)
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

    def phrases(self, text: str) -> tuple[str, ...]:
        """The subject phrases of a text, in order, at most six."""
        return split_phrases(text)

    # --- explaining --------------------------------------------------------------------------------------------------

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[str | None]) -> list[TokenMaps]:
        """Each image's attention and salience: with a phrase the attention of image and phrase together and the
        salience conditioned on it, with None those of the image alone. Raises InputError for unequal lengths."""
        if len(images) != len(phrases):
            raise InputError(f"There are {len(images)} images for {len(phrases)} phrases; give one phrase an image.")
        result = []
        for batch in _batches(list(range(len(images))), 32):
            with self._passes():
                visual = self._backbone.vision_pass([images[i] for i in batch])
                named = [phrases[i] for i in batch]
                found = self._salience(visual, [images[i] for i in batch], named)
                attention = self._attention(visual, found, [phrase or "" for phrase in named])
            salience = found.salience.float().cpu().numpy()
            for b, count in enumerate(visual.counts()):
                rows = {v: attention[v][b, :count] for v in VERSIONS}
                result.append(TokenMaps(visual.boxes[b, :count], rows, salience[b, :count]))
        return result

    def explain(self, image: Image.Image, text: str | None, phrases: Sequence[str] | None = None) -> Explanation:
        """Everything about one image and one text: both attentions, every stage of salience, subjects aligned.

        phrases: subjects to look for (default: those of the text). The attention and the stages are conditioned on
        them; similarity and subject vectors are those of the index, query-free. Without text and phrases all maps are
        query-free and nothing is aligned.
        """
        named = tuple(phrases) if phrases is not None else self.phrases(text or "")
        seconds: dict[str, float] = {}
        with self._passes():
            with _timed(seconds, "vision"):
                visual = self._backbone.vision_pass([image])
                boxes = visual.boxes[0]
            with _timed(seconds, "salience"):
                free = self._salience(visual, [image], [None])
                stages, maps = self._stages(visual, image, named)
                conditioned = _Salient(torch.from_numpy(stages["salience"])[None].to(visual.tokens), ((),))
                conditioned = _Salient(conditioned.salience, (peaks(stages["salience"], boxes, MOST_SUBJECTS),))
            with _timed(seconds, "embedding"):
                similarity, embedding = self._similarities(visual, free, text, named)
            with _timed(seconds, "attention"):
                attention = {v: rows[0] for v, rows in self._attention(visual, conditioned, [text or ""]).items()}
            with _timed(seconds, "alignment"):
                alignment = self._align(visual, free, named, maps, embedding, attention)
        stages["gain"] = self._settings.floor + (1 - self._settings.floor) * stages.pop("salience")
        return Explanation(
            image_size=image.size,
            boxes=boxes,
            similarity=similarity,
            attention=attention,
            attention_on_image={v: float(row.sum()) for v, row in attention.items()},
            stages=stages,
            regions=tuple(Region(r.bbox, r.salience) for r in free.regions[0]),
            alignment=alignment,
            seconds=seconds,
        )

    # --- inside: callers hold the lock -------------------------------------------------------------------------------

    @contextmanager
    def _passes(self) -> Iterator[None]:
        with self._lock, torch.inference_mode():
            yield

    def _use(self, version: str) -> None:
        self._adapters.use(version if version in self._adapters.names else None)

    def _embed_texts(self, texts: Sequence[str], versions: Sequence[str]) -> dict[str, np.ndarray]:
        result = {}
        with self._passes():
            for version in versions:
                self._use(version)
                result[version] = _unit_rows(self._backbone.language_pass(texts).last)
        return result

    def _embed_images(
        self, samples: Sequence[Sample], versions: Sequence[str], subjects: bool, phrase: str | None
    ) -> Embedded:
        images = [sample.image for sample in samples if sample.image is not None]
        with self._passes():
            visual = self._backbone.vision_pass(images)
            needed = subjects or SSA_ME in versions
            found = self._salience(visual, images, [phrase] * len(images)) if needed else None
            texts = [sample.text or "" for sample in samples]
            passes = {version: self._read(version, texts, visual, found) for version in versions}
            vectors = {version: _unit_rows(output.last) for version, output in passes.items()}
            if not subjects or found is None:
                empty = tuple(np.zeros((0, self.info.dimension), dtype=np.float32) for _ in images)
                return Embedded(vectors, tuple(() for _ in images), dict.fromkeys(versions, empty))
            subject_vectors = {v: self._subject_vectors(v, output, found) for v, output in passes.items()}
        regions = tuple(tuple(Region(r.bbox, r.salience) for r in of_image) for of_image in found.regions)
        return Embedded(vectors, regions, subject_vectors)

    def _read(
        self, version: str, texts: Sequence[str], visual: VisualBatch, found: _Salient | None, rows: bool = False
    ) -> LanguagePass:
        """One language pass: the baseline's on V, SSA-ME's on the regenerated V″ with its key bias."""
        self._use(version)
        if version != SSA_ME or found is None:
            return self._backbone.language_pass(texts, visual, collect_rows=rows)
        regenerated = self._regenerate(visual, found)
        return self._backbone.language_pass(texts, regenerated.visual, regenerated.key_bias, collect_rows=rows)

    def _regenerate(self, visual: VisualBatch, found: _Salient) -> Regenerated:
        regenerated: Regenerated = self._parts.regeneration(visual, found.salience, found.stacked())
        return regenerated

    def _salience(
        self, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str | None]
    ) -> _Salient:
        """Salience for each image's phrase, None being query-free: the head's, or the expert's where none was trained.
        One batch is either all named or all query-free, or mixed."""
        if self._distilled:
            salience = self._head_salience(visual, phrases)
        else:
            rows = np.zeros(visual.valid.shape, dtype=np.float32)
            for b, (image, phrase) in enumerate(zip(images, phrases, strict=True)):
                count = int(visual.valid[b].sum())
                rows[b, :count] = self._expert_map(image, phrase or "", visual.boxes[b, :count])
            salience = torch.from_numpy(rows).to(visual.tokens)
        values = salience.float().cpu().numpy()
        counts = visual.counts()
        found = tuple(
            peaks(values[b, :count], visual.boxes[b, :count], MOST_SUBJECTS) for b, count in enumerate(counts)
        )
        return _Salient(salience, found)

    def _head_salience(self, visual: VisualBatch, phrases: Sequence[str | None]) -> Tensor:
        head = self._parts.head
        named = [i for i, phrase in enumerate(phrases) if phrase]
        salience: Tensor = head.salience(visual.tokens, visual.valid)
        if named:
            distinct = list(dict.fromkeys(phrases[i] or "" for i in named))
            self._use(SSA_ME)
            spoken = F.normalize(self._backbone.language_pass(distinct).last.float(), dim=-1)
            rows = spoken[[distinct.index(phrases[i] or "") for i in named]].to(visual.tokens.dtype)
            salience[named] = head.salience(visual.tokens[named], visual.valid[named], rows)
        return salience

    def _expert_map(self, image: Image.Image, phrase: str, boxes: np.ndarray) -> np.ndarray:
        return to_tokens(self._expert(image, [phrase])[0], boxes, image.size)

    def _attention(self, visual: VisualBatch, found: _Salient, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Version → (B, N): the last token's attention on image tokens, mean over heads and the chosen layers."""
        result = {}
        for version in VERSIONS:
            output = self._read(version, texts, visual, found, rows=True)
            assert output.rows is not None and output.hidden is not None
            mean = relevance.layer_mean(output.rows.float(), self._settings.layers)
            result[version] = (mean * ~relevance.sink_tokens(output.hidden)).cpu().numpy()
        return result

    def _stages(
        self, visual: VisualBatch, image: Image.Image, phrases: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Every stage as (N,), the largest over the phrases, and each phrase's own salience. "salience" is the one
        that the regeneration takes: the head's where it was trained, else the fused one."""
        boxes = visual.boxes[0]
        expert = np.stack([self._expert_map(image, phrase, boxes) for phrase in (phrases or [""])])
        stages = {"expert": expert.max(0)}
        fused = expert
        if phrases:
            semantic = self._semantic(visual, phrases)
            stages["semantic"] = semantic.max(0)
            fused = np.stack([fuse(e[None], r[None]) for e, r in zip(expert, semantic, strict=True)])
            stages["fused"] = fused.max(0)
        maps = fused
        if self._distilled:
            repeated = visual.select([0] * max(1, len(phrases)))
            maps = self._head_salience(repeated, list(phrases) or [None]).float().cpu().numpy()
            stages["head"] = maps.max(0)
        stages["salience"] = maps.max(0)
        return stages, list(maps) if phrases else []

    def _semantic(self, visual: VisualBatch, phrases: Sequence[str]) -> np.ndarray:
        """Semantic relevance (K, N) of each phrase: attention with it ÷ without, by the backbone as it is."""
        self._adapters.use(None)
        repeated = visual.select([0] * (len(phrases) + 1))
        output = self._backbone.language_pass([*phrases, ""], repeated, collect_rows=True)
        assert output.rows is not None and output.hidden is not None
        mean = relevance.layer_mean(output.rows.float(), self._settings.layers)
        attention = relevance.normalise_attention(mean, repeated.valid, relevance.sink_tokens(output.hidden))
        generic = attention[-1:].expand(len(phrases), -1)
        relative = relevance.relative_relevance(attention[:-1], generic, repeated.valid[:-1])
        return relative.cpu().numpy().astype(np.float32)

    def _similarities(
        self, visual: VisualBatch, free: _Salient, text: str | None, phrases: Sequence[str]
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Version → cosine of text and image (empty without a text), and version → (K, D) of the phrases."""
        similarity, embedding = {}, {}
        for version in VERSIONS:
            spoken = [text] if text and text.strip() else []
            texts = [*spoken, *phrases]
            self._use(version)
            rows = _unit_rows(self._backbone.language_pass(texts).last) if texts else np.zeros((0, 0), np.float32)
            embedding[version] = rows[len(spoken) :]
            if spoken:
                seen = _unit_rows(self._read(version, [""], visual, free).last)
                similarity[version] = float(rows[0] @ seen[0])
        return similarity, embedding

    def _align(
        self,
        visual: VisualBatch,
        free: _Salient,
        phrases: Sequence[str],
        maps: Sequence[np.ndarray],
        embedding: Mapping[str, np.ndarray],
        attention: Mapping[str, np.ndarray],
    ) -> tuple[Alignment, ...]:
        if not phrases:
            return ()
        tops = [peaks(salience, visual.boxes[0], 1) for salience in maps]
        regions = [*(top[0] for top in tops if top), *free.regions[0]]
        gathered = _Salient(free.salience, (tuple(regions),))
        vectors = {}
        for version in VERSIONS:
            output = self._read(version, [""], visual, free)
            vectors[version] = self._subject_vectors(version, output, gathered)[0]
        candidates = [Candidate(r, {v: vectors[v][i] for v in VERSIONS}) for i, r in enumerate(regions)]
        own = iter(candidates)
        return tuple(
            align(
                phrase,
                {v: embedding[v][k] for v in VERSIONS},
                next(own) if tops[k] else None,
                candidates,
                attention,
                maps[k],
                leading=SSA_ME,
            )
            for k, phrase in enumerate(phrases)
        )

    def _subject_vectors(self, version: str, output: LanguagePass, found: _Salient) -> tuple[np.ndarray, ...]:
        """B arrays (K_b, D): a_k = normalise(W · mean of H under M_k), W the identity for the baseline."""
        assert output.hidden is not None
        stacked = found.stacked()
        if stacked.shape[1] == 0:
            return tuple(np.zeros((0, self.info.dimension), dtype=np.float32) for _ in found.regions)
        pooled = aggregate(output.hidden, stacked)
        if version == SSA_ME:
            pooled = self._parts.projection(pooled)
        rows = F.normalize(pooled.float(), dim=-1).cpu().numpy()
        return tuple(rows[b, : len(regions)] for b, regions in enumerate(found.regions))


_FAMILY_NAMES = ("Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL")


def _describe(
    folder: Path, device: Device, backbone: Backbone, trained: Mapping[str, bool], settings: Settings
) -> ModelInfo:
    knows = settings.description
    if not trained[SSA_ME]:
        knows = "A backbone without adapters: the baseline is the model as it is, SSA-ME runs training-free."
    return ModelInfo(
        name=folder.resolve().name,
        checkpoint=str(folder),
        family=backbone.family,
        device=str(device.device),
        precision=device.precision,
        reason=device.reason,
        parameters=sum(p.numel() for p in backbone.model.parameters()),
        dimension=backbone.width,
        fingerprints=fingerprints(folder),
        trained=dict(trained),
        knows=knows,
    )


def _batches(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])


def _unit_rows(rows: Tensor) -> np.ndarray:
    return F.normalize(rows.float(), dim=-1).cpu().numpy()


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
