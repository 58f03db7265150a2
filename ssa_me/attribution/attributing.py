"""`attribute`: one method on one image and one text, for a version's similarity or for the difference of both.

It chooses what a method is given, pixels or image tokens or features that are kept, and puts what comes out on the image
and on the words. Whoever calls it holds no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.attribution.absence import (
    absent,
    bbox_of,
    box_mask,
    cell_labels,
    region_labels,
    spread,
    superpixels,
)
from ssa_me.attribution.captum_runs import KeptSets, evaluations, gradient_map, set_map, token_map
from ssa_me.attribution.result import Attribution, Balance, Part, Word
from ssa_me.attribution.scores import AtTokens, Held, ImageScores
from ssa_me.attribution.settings import METHODS, Method, Settings, method_of, weights_of
from ssa_me.attribution.watching import Progress, Watch
from ssa_me.attribution.word_scores import WordScores
from ssa_me.byte_cache import ByteCache
from ssa_me.checkpoint import SSA_ME
from ssa_me.errors import InputError
from ssa_me.images import pixel_hash

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

REST = "the rest"
_ZERO = 0.05  # normalised pixels of this size are zero to the model
_FAINT = 0.25  # of the change of the score: less than that in all says little
AttributionCache = ByteCache[Attribution]


def attribution_cache(capacity: int = 64 * 2**20) -> AttributionCache:
    """A cache for `attribute` that keeps up to `capacity` bytes."""
    return ByteCache(capacity, lambda attribution: attribution.bytes)


def attribute(
    embedder: SalientEmbedder,
    image: Image.Image,
    text: str,
    method: str,
    *,
    target: str = "similarity",
    version: str = SSA_ME,
    settings: Settings | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    cache: AttributionCache | None = None,
) -> Attribution:
    """What of `image` and of `text` makes their similarity, or the difference of both versions' similarities.

    method: one of METHODS. target: "similarity" of `version`, or "difference", SSA-ME's less the baseline's, which is
    offered for methods with a sign; both are then attributed under the same baseline and seed. progress(done, total) is
    told of every batch; the work ends with Cancelled once `cancelled()` is true. cache: where the same was computed
    before, it is given again. Raises InputError for what is not there, an empty text, or a baseline that is no baseline.
    """
    settings = settings or Settings()
    weights = weights_of(method, target, version)
    if not text.strip():
        raise InputError("There is no text to compare the image with. Say what to look for in it.")
    marks = embedder.info.fingerprints
    key = (pixel_hash(image), text, method, tuple((v, c, marks[v]) for v, c in weights.items()), settings)
    known = cache.get(key) if cache is not None else None
    if known is not None:
        return known
    watch = Watch(1, progress, cancelled)
    made = attribute_with(embedder.exact, image, text, method, target, version, settings, watch)
    watch.finish()
    if cache is not None:
        cache.put(key, made)
    return made


def attribute_with(
    held: Held,
    image: Image.Image,
    text: str,
    method: str,
    target: str,
    version: str,
    settings: Settings,
    watch: Watch,
) -> Attribution:
    """`attribute` with the passes that `held` gives, without a cache."""
    started, weights = time.perf_counter(), weights_of(method, target, version)
    scores = ImageScores(held, image, text, weights, watch)
    words = WordScores(held, image, text, weights, watch)
    if not words.words:
        raise InputError("Nothing of this text is read by the model. Say what to look for in the image.")
    side = _ImageSide(scores, method, settings)
    watch.total = evaluations(method, side.features, settings) + evaluations(
        method, (len(words.words),), settings
    )
    pixels, parts, image_balance = side.run()
    values, words_balance = _words(words, method, settings)
    spoken = tuple(
        Word(words.text[a:b], a, b, float(value)) for (a, b), value in zip(words.words, values, strict=True)
    )
    rows, columns = scores.tokens
    labels = cell_labels(rows, columns, pixels.shape)
    on_tokens = np.bincount(labels.ravel(), pixels.ravel().astype(np.float64), rows * columns)
    return Attribution(
        method=method,
        target=target,
        version=version,
        text=words.text,
        settings=settings,
        image_size=image.size,
        pixels=pixels,
        boxes=scores.boxes,
        values=on_tokens.astype(np.float32),
        words=spoken,
        parts=parts,
        image=image_balance,
        words_balance=words_balance,
        held=_held(METHODS[method], scores),
        text_baseline=words.filler,
        notes=(
            *_notes(METHODS[method], target, on_tokens, parts, image_balance, scores.pixels),
            *_faint(METHODS[method], on_tokens, image_balance, "image"),
            *_faint(METHODS[method], values, words_balance, "text"),
        ),
        evaluations=watch.done,
        seconds=time.perf_counter() - started,
    )


class _ImageSide:
    """One method on the image: what it reads, its run, and its contributions on (h, w)."""

    def __init__(self, scores: ImageScores, method: str, settings: Settings) -> None:
        self._scores, self._method, self._settings = scores, method, settings
        self._kind = method_of(method).kind
        self._fill = absent(scores.pixels, settings.baseline, settings.seed)
        self._labels, self._names = self._regions()

    @property
    def features(self) -> tuple[int, ...]:
        return self._scores.tokens if self._kind == "occlusion" else (len(self._names),)

    def run(self) -> tuple[np.ndarray, tuple[Part, ...], Balance]:
        if self._kind in ("gradient", "tokens"):
            return self._gradients()
        return self._sets()

    def _gradients(self) -> tuple[np.ndarray, tuple[Part, ...], Balance]:
        scores, complete = self._scores, METHODS[self._method].complete
        baseline = scores.patches_of(self._fill)
        if complete and float(baseline.std() + baseline.mean().abs()) < _ZERO:
            raise InputError(
                f"For this image the baseline {self._settings.baseline!r} is what the model reads as zero, from where "
                "gradients do not add up. Choose blur, black, white or noise."
            )
        ends = [float(scores.of_patches(end.detach()).detach()) for end in (scores.patches, baseline)]
        if self._kind == "tokens":
            module = AtTokens(scores)
            of_tokens = token_map(module, module.places, scores.patches.clone().requires_grad_())
            pixels = spread(of_tokens.double().cpu().numpy(), self._labels)
            total = float(of_tokens.sum())
        else:
            found = gradient_map(self._method, scores.of_patches, scores.patches, baseline, self._settings)
            total = float(found.double().sum())
            pixels = scores.on_pixels(found[0])
        return pixels, (), Balance(ends[0], ends[1], total, complete)

    def _sets(self) -> tuple[np.ndarray, tuple[Part, ...], Balance]:
        scores = self._scores
        kept = KeptSets(scores.of_kept(self._labels, self._fill))
        values = set_map(self._method, kept, self.features, self._settings)
        balance = _ends(
            kept, int(np.prod(self.features)), float(values.sum()), METHODS[self._method].complete
        )
        parts = tuple(
            Part(name, bbox_of(self._labels == k, scores.image_size), float(values[k]))
            for k, name in enumerate(self._names)
        )
        return spread(values.ravel(), self._labels), parts, balance

    def _regions(self) -> tuple[np.ndarray, list[str]]:
        """Labels (h, w) of what is taken away, and the regions' names; cells have none."""
        scores, settings = self._scores, self._settings
        rows, columns = scores.tokens
        cells = cell_labels(rows, columns, scores.pixels.shape[:2])
        features = METHODS[self._method].features
        if features is None:
            return cells, []
        if features == "superpixels":
            labels = superpixels(scores.pixels, settings.superpixels)
            return labels, [f"patch {k + 1}" for k in range(int(labels.max()) + 1)]
        if settings.regions:
            named = [
                (name, box_mask(bbox, scores.image_size, cells.shape)) for name, bbox in settings.regions
            ]
        else:
            found = scores.found.regions[0]
            named = [(f"subject {k + 1}", (region.weights > 0)[cells]) for k, region in enumerate(found)]
        named = [(name, mask) for name, mask in named if mask.any()]
        if not named:
            raise InputError(
                "No subject stands out in this image, so that none can be taken away. Choose superpixels or occlusion."
            )
        labels = region_labels([mask for _, mask in named])
        there, labels = np.unique(labels, return_inverse=True)
        names = [*(name for name, _ in named), REST]
        return labels.reshape(cells.shape), [names[k] for k in there]


def _words(scores: WordScores, method: str, settings: Settings) -> tuple[np.ndarray, Balance]:
    """The contribution of each word (M,), and what they add up to."""
    complete, count = METHODS[method].complete, len(scores.words)
    if METHODS[method].kind in ("gradient", "tokens"):
        found = gradient_map(method, scores.of_states, scores.states, scores.absent, settings)
        values = scores.on_words(found[0])
        ends = [float(scores.of_states(end).detach()) for end in (scores.states, scores.absent)]
        return values, Balance(ends[0], ends[1], float(values.sum()), complete)
    kept = KeptSets(scores.of_kept)
    values = set_map(method, kept, (count,), settings)
    return values, _ends(kept, count, float(values.sum()), complete)


def _ends(kept: KeptSets, features: int, total: float, complete: bool) -> Balance:
    import torch

    ends = kept(torch.stack([torch.ones(features), torch.zeros(features)]))
    return Balance(float(ends[0]), float(ends[1]), total, complete)


def _held(method: Method, scores: ImageScores) -> str:
    """What was held fixed, as a sentence."""
    other = "each side's embedding while the other is attributed"
    if method.kind in ("occlusion", "regions"):
        if not scores.salient:
            return f"Held fixed: {other}; the baseline has no salience."
        return f"Held fixed: {other}. Salience and regions are found anew in every changed image."
    if not scores.salient:
        return f"Held fixed: {other}; the baseline has no salience."
    if scores.distilled:
        return f"Held fixed: {other}, and the subject regions of the original image; gradients run through the salience."
    return f"Held fixed: {other}, and the salience and regions of the original image, which have no gradient."


def _notes(
    method: Method,
    target: str,
    values: np.ndarray,
    parts: tuple[Part, ...],
    balance: Balance,
    pixels: np.ndarray,
) -> tuple[str, ...]:
    """What to know before one reads the map."""
    notes = []
    if target == "difference" and np.abs(values).max(initial=0) < 1e-6 and abs(balance.score) < 1e-6:
        notes.append(
            "Both versions give this pair the same score and the same map: there is no difference to explain."
        )
    if len(values) == 1:
        notes.append("The model sees this image as a single token: the map has one cell and points nowhere.")
    elif np.ptp(values) <= 1e-12:
        notes.append("The map is the same everywhere: it points nowhere.")
    if not np.ptp(pixels.reshape(-1, 3), axis=0).any():
        notes.append("The image is of a single colour: there is nothing on it to point at.")
    if method.features == "subjects" and len(parts) == 1:
        notes.append("A single region covers the whole image: its contribution is all of the change.")
    if not method.signed:
        notes.append("The map has no sign: it says where the score moves, not which way.")
    return tuple(notes)


def _faint(method: Method, values: np.ndarray, balance: Balance, side: str) -> tuple[str, ...]:
    """Says where input × gradient finds next to nothing: of a model that reads directions, the gradient along the input
    itself is zero (Euler's theorem for functions of degree 0)."""
    if method.complete or not method.signed or method.kind not in ("gradient", "tokens"):
        return ()
    if np.abs(values).sum() >= _FAINT * abs(balance.change):
        return ()
    return (
        f"On the {side} it finds little of what changes the score: the model reads directions more than sizes, and this "
        "method sees what a change of size does.",
    )
