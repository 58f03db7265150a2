"""Where proposals come from: subjects that a gallery's data names, and subjects that the salience pipeline finds.

Both are scored by vectors that the gallery has already, so ten thousand of them take seconds: the phrase against its own
region and against the others of the image, for both versions. Knows no queue and no annotator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.annotation.records import SAME_PLACE, Picture, Proposal, Scores, Truth, check_subject
from ssa_me.errors import InputError
from ssa_me.gallery.items import Item, Spaces
from ssa_me.gallery.store import Gallery
from ssa_me.salience.regions import iou
from ssa_me.samples import Sample, Subject

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.explanation import SalienceMode

OWN_REGION = 0.2
"""The IoU from which on a region of the index is taken for a subject's own."""
HONEYPOT_SHARE = 0.04
MOST_HONEYPOTS = 200
MOST_PHRASES = 8
_AT_ONCE = 256


def picture_of(item: Item) -> Picture:
    return Picture(item.id, item.file_name, item.width, item.height, item.captions)


def from_data(items: Iterable[Item]) -> Iterator[Proposal]:
    """The subjects that the data names, as far as they have a region in the image."""
    for item in items:
        for subject in item.subjects:
            checked = _checked(subject, item)
            if checked is not None:
                yield Proposal(item.id, checked, "data")


def from_model(
    gallery: Gallery,
    embedder: SalientEmbedder,
    items: Sequence[Item],
    salience: SalienceMode = "head",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[Proposal]:
    """The subjects that the salience pipeline finds: of an image's captions, or of the sentence that the language model
    says about it where it has none; of an image without any, that nothing was found. One explanation an image; unreadable
    images are left out. `progress` is told how many images are done, and of how many."""
    fingerprint = Spaces(embedder.info.fingerprints).head
    for number, item in enumerate(items):
        if cancelled is not None and cancelled():
            return
        try:
            image = gallery.image(item.id)
        except InputError:
            continue
        phrases = list(dict.fromkeys(p for text in item.captions for p in embedder.phrases(text)))
        if not phrases:
            phrases = list(embedder.subjects([Sample(image=image)])[0].phrases)
        phrases = phrases[:MOST_PHRASES]
        found = embedder.explain(image, ", ".join(phrases), phrases, salience).alignment if phrases else ()
        placed = [_checked(Subject(alignment.phrase, alignment.region), item) for alignment in found]
        subjects = [subject for subject in placed if subject is not None]
        yield from (Proposal(item.id, subject, "model", fingerprint) for subject in subjects)
        if not subjects:
            yield Proposal(item.id, Subject(""), "none", fingerprint)
        if progress is not None:
            progress(number + 1, len(items))


def scored(
    gallery: Gallery, embedder: SalientEmbedder, items: Mapping[int, Item], proposals: Sequence[Proposal]
) -> list[Proposal]:
    """The proposals with their scores, by the vectors of the gallery; unscored where it has none of this model, and those
    that say that nothing was found."""
    spaces = Spaces(embedder.info.fingerprints)
    indexes = {version: gallery.index(spaces.subjects(version)) for version in embedder.info.fingerprints}
    present = {version: index for version, index in indexes.items() if index is not None}
    if not present:
        return list(proposals)
    phrases = list(dict.fromkeys(p.subject.phrase for p in proposals if not p.is_nothing))
    spoken: dict[str, list[np.ndarray]] = {version: [] for version in present}
    for start in range(0, len(phrases), _AT_ONCE):
        part = embedder.embed(
            [Sample(text=p) for p in phrases[start : start + _AT_ONCE]], versions=tuple(present)
        )
        for version in present:
            spoken[version].append(part.vectors[version])
    places = {phrase: n for n, phrase in enumerate(phrases)}
    vectors = {version: np.concatenate(parts) for version, parts in spoken.items()} if phrases else {}
    result = []
    for proposal in proposals:
        if proposal.is_nothing:
            result.append(proposal)
            continue
        item = items[proposal.image]
        cosines = {}
        for version, index in present.items():
            if proposal.image in index:
                rows = index.of(proposal.image)[: len(item.regions)]
                cosines[version] = rows @ vectors[version][places[proposal.subject.phrase]]
        result.append(replace(proposal, scores=_scores(proposal.subject, item, cosines)))
    return result


def _scores(subject: Subject, item: Item, cosines: Mapping[str, np.ndarray]) -> Scores:
    """Scores out of each version's cosines `(K,)` of the phrase with the image's regions.

    With m = the own region's cosine less the best rival's, of SSA-ME: uncertainty 1 − |m|, misalignment −m;
    disagreement 1 − IoU of the regions that the two versions like best. Where no region of the index is the subject's own,
    nothing is known of it: uncertainty 1, and every region is a rival.
    """
    singles = [n for n, region in enumerate(item.regions) if region.single]
    leading = list(cosines.values())[-1] if cosines else np.zeros(0)
    singles = [n for n in singles if n < len(leading)]
    if not singles or subject.bbox is None:
        return Scores(uncertainty=1.0)
    boxes = [item.regions[n].bbox for n in singles]
    overlaps = [iou(subject.bbox, box) for box in boxes]
    own = int(np.argmax(overlaps))
    best = {version: boxes[int(np.argmax(values[singles]))] for version, values in cosines.items()}
    liked = list(best.values())
    disagreement = 1 - iou(liked[0], liked[-1])
    if overlaps[own] < OWN_REGION:
        return Scores(1.0, float(leading[singles].max()), disagreement)
    rivals = [
        float(leading[n]) for n, box in zip(singles, boxes, strict=True) if iou(box, boxes[own]) < SAME_PLACE
    ]
    if not rivals:
        return Scores(0.5, -1.0, disagreement)
    margin = float(leading[singles[own]]) - max(rivals)
    return Scores(1 - min(1.0, abs(margin)), -margin, disagreement, margin)


def honeypots(items: Iterable[Item], seed: int = 0) -> list[Proposal]:
    """Proposals whose answer is known, out of images whose data names two subjects or more: for half of them a subject as
    it is, for half a phrase with another subject's region (one that hardly overlaps with its own)."""
    random = np.random.default_rng(seed)
    candidates = []
    for item in items:
        known = [s for subject in item.subjects if (s := _checked(subject, item)) is not None]
        once = [s for s in known if sum(other.phrase == s.phrase for other in known) == 1]
        if len(once) >= 2:
            candidates.append((item, once))
    count = min(MOST_HONEYPOTS, int(np.ceil(HONEYPOT_SHARE * len(candidates) * 2)))
    chosen = random.permutation(len(candidates))[:count]
    made = []
    for number, at in enumerate(chosen):
        item, known = candidates[at]
        subject = known[int(random.integers(len(known)))]
        if number % 2 == 0:
            made.append(_honeypot(item, subject, subject, True))
            continue
        others = [o for o in known if o.bbox and subject.bbox and iou(o.bbox, subject.bbox) < 0.1]
        if others:
            wrong = others[int(random.integers(len(others)))]
            made.append(_honeypot(item, replace(wrong, phrase=subject.phrase), subject, False))
    return made


def _honeypot(item: Item, shown: Subject, truth: Subject, right: bool) -> Proposal:
    return Proposal(item.id, shown, "data", truth=Truth(right, truth))


def _checked(subject: Subject, item: Item) -> Subject | None:
    """The subject's phrase and region alone, or None where its region is not valid in the image."""
    bare = Subject(subject.phrase, subject.bbox, subject.segmentation)
    try:
        return check_subject(bare, picture_of(item))
    except InputError:
        return None


@dataclass(frozen=True)
class Prepared:
    """What a queue is filled with."""

    pictures: tuple[Picture, ...]
    proposals: tuple[Proposal, ...]


def prepare(
    gallery: Gallery,
    embedder: SalientEmbedder | None,
    source: str = "data",
    salience: SalienceMode = "head",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    image: int | None = None,
) -> Prepared:
    """All proposals of a gallery, from its "data" or by the "model", scored, with honeypots from the data where it allows
    them, which look like the rest; or those of one `image`, without honeypots. Raises InputError where there is nothing to
    propose, or no model to propose it."""
    head = Spaces(embedder.info.fingerprints).head if embedder else None
    listed = [item.id for item in gallery.items(0, len(gallery))] if image is None else [image]
    items = gallery.items_of(listed, head=head)
    if source == "data":
        proposals = list(from_data(items.values()))
        if not proposals:
            raise InputError("The data names no subject with a region here. Let the model propose some.")
    elif embedder is None:
        raise InputError("The model is still being loaded. Try again in a moment.")
    else:
        proposals = list(from_model(gallery, embedder, list(items.values()), salience, progress, cancelled))
        if not proposals:
            raise InputError("No image could be looked at, or it was stopped before the first. Try again.")
    fingerprint = head if source == "model" else None
    known = honeypots(items.values()) if image is None else []
    whole = [*proposals, *(replace(p, source=source, fingerprint=fingerprint) for p in known)]
    rated = scored(gallery, embedder, items, whole) if embedder else whole
    return Prepared(tuple(picture_of(item) for item in items.values()), tuple(rated))
