"""The generated world: a `Plan` says what a scene shows, `render` draws it, `make_scene` does both from a
seed.

Everything follows from the seed by integer streams (NumPy's PCG64) and OpenCV's fixed-point drawing, so that
a scene is the same everywhere. A scene keeps its composition at every size. Boxes are pixels of the image,
origin top left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.samples import BBox, Record, Subject, encode_mask, mask_bbox
from ssa_me.scenes.backdrops import BACKDROPS
from ssa_me.scenes.figures import FIGURES, Cutout, cut_out
from ssa_me.scenes.languages import LANGUAGES, Language, check_language, describe_in, phrase_in
from ssa_me.scenes.layout import Place, arrange, relations
from ssa_me.scenes.pen import Pen, mix, paste, veil
from ssa_me.scenes.queries import Facts, Mention, Query, caption_queries, describe_all, holds, mentions
from ssa_me.scenes.vocabulary import (
    COLOUR_NAMES,
    KINDS,
    PAIRS,
    PERSON,
    RELATIONS,
    SETTING_NAMES,
    Pairs,
    alike,
    allowed,
    fits,
    possible,
)

MIN_SIZE = 64
_LEAST_VISIBLE = 0.40
_ATTEMPTS = 6


@dataclass(frozen=True)
class Plan:
    """What a scene shows: `(kind, colour)` of each subject, all kinds and all colours different;
    `relation` of 0 to 1."""

    seed: int
    subjects: tuple[tuple[str, str], ...]
    setting: str
    relation: str | None = None
    pairs: Pairs = "all"


@dataclass(frozen=True, eq=False)
class SceneSubject:
    """A subject of a scene; `mask` (size, size) is what of it is visible, `bbox` the box around that."""

    kind: str
    colour: str
    phrase: str
    mask: np.ndarray
    bbox: BBox

    @property
    def mention(self) -> Mention:
        """What `phrase` calls the subject: its own kind, or `person`."""
        general = Mention(PERSON, self.colour)
        return general if self.phrase == general.phrase else Mention(self.kind, self.colour)


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn scene. `queries` are the meanings of `captions`, one each; `relation` holds between subjects
    0 and 1."""

    plan: Plan
    image: Image.Image
    subjects: tuple[SceneSubject, ...]
    captions: tuple[str, ...]
    queries: tuple[Query, ...]
    facts: Facts

    @property
    def setting(self) -> str:
        return self.plan.setting

    @property
    def relation(self) -> str | None:
        return self.plan.relation

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """The subjects' phrases, in their order."""
        return tuple(subject.phrase for subject in self.subjects)

    def captions_in(self, language: Language) -> tuple[str, ...]:
        """`queries` in words of `language`, one each, no two alike: the same from the same seed.

        English is `captions`. Raises InputError for an unknown language.
        """
        if check_language(language) == "en":
            return self.captions
        words = np.random.default_rng([self.plan.seed, 5, LANGUAGES.index(language)])
        return describe_all(self.queries, words, lambda query, rng: describe_in(query, language, rng))

    def phrases_in(self, language: Language) -> tuple[str, ...]:
        """The subjects' phrases in `language`, in their order: a person stays a person, a man a man.

        Raises InputError for an unknown language.
        """
        mentioned = (subject.mention for subject in self.subjects)
        return tuple(phrase_in(mention.kind, mention.colour, language) for mention in mentioned)

    def record(self, file_name: str, root: Path = Path(), language: Language = "en") -> Record:
        """The scene, told in `language`, as a line of an ImageFolder set below `root`; extra keys: seed,
        setting, relation, and the language where it is not English."""
        subjects = tuple(
            Subject(
                name,
                s.bbox,
                encode_mask(s.mask),
                source="generated",
                extra={"kind": s.kind, "colour": s.colour},
            )
            for s, name in zip(self.subjects, self.phrases_in(language), strict=True)
        )
        extra = {"seed": self.plan.seed, "setting": self.setting, "relation": self.relation}
        if language != "en":
            extra["language"] = language
        return Record(root / file_name, file_name, self.captions_in(language), subjects, extra=extra)


def satisfies(scene: Scene, query: Query) -> bool:
    """Whether `query` is true of `scene`."""
    return holds(query, scene.facts)


def make_scene(seed: int, size: int = 256, pairs: Pairs = "all") -> Scene:
    """The scene of `seed`, `size` pixels wide and high.

    Raises InputError for a negative seed, a size under 64, or unknown `pairs`.
    """
    return render(plan_scene(seed, pairs), size)


def plan_scene(seed: int, pairs: Pairs = "all") -> Plan:
    """What the scene of `seed` shows: one to three subjects, mostly two, in colours that `pairs` permits.

    With `pairs="seen"` the subjects may exchange their colours and still be permitted, so that the scene has
    a twin.
    """
    if seed < 0:
        raise InputError(f"A seed is 0 or more, not {seed}.")
    if pairs not in PAIRS:
        raise InputError(f"Unknown pairs {pairs!r}: choose one of {', '.join(PAIRS)}.")
    rng = np.random.default_rng([seed, 0])
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.6, 0.2]))
    setting = SETTING_NAMES[rng.integers(len(SETTING_NAMES))]
    relation = RELATIONS[rng.integers(len(RELATIONS))] if count > 1 else None
    return Plan(seed, draw_subjects(rng, count, setting, relation, pairs), setting, relation, pairs)


def draw_subjects(
    rng: np.random.Generator, count: int, setting: str, relation: str | None, pairs: Pairs = "all"
) -> tuple[tuple[str, str], ...]:
    """`count` subjects of different kinds and colours that fit setting, relation and `pairs`."""
    here = [kind for kind in KINDS if fits(kind, setting)]
    while True:
        kinds = [here[i] for i in rng.permutation(len(here))[:count]]
        colours = [COLOUR_NAMES[i] for i in rng.permutation(len(COLOUR_NAMES))[:count]]
        if count > 1 and not possible(relation, kinds[0], kinds[1]):
            continue
        if pairs == "held-out":
            colours = [next(c for c in COLOUR_NAMES if allowed(kind, c, pairs)) for kind in kinds]
        subjects = tuple(zip(kinds, colours, strict=True))
        crossed = _exchanged(subjects) if pairs == "seen" else ()
        if len(set(colours)) == count and all(allowed(*pair, pairs) for pair in (*subjects, *crossed)):
            return subjects


def twin_plan(plan: Plan) -> Plan:
    """The same words bound otherwise, so that no caption of the one is true of the other.

    Each subject takes the next one's colour. A single subject gets company: its colour goes to another kind,
    its kind takes another colour.
    """
    if len(plan.subjects) > 1:
        return replace(plan, subjects=_exchanged(plan.subjects))
    kind, colour = plan.subjects[0]
    rng = np.random.default_rng([plan.seed, 9])
    pairs: Pairs = "all" if plan.pairs == "held-out" else plan.pairs
    kinds = [k for k in KINDS if fits(k, plan.setting) and not alike(k, kind) and allowed(k, colour, pairs)]
    colours = [c for c in COLOUR_NAMES if c != colour and allowed(kind, c, pairs)]
    company = (kinds[rng.integers(len(kinds))], colour)
    subjects = ((kind, colours[rng.integers(len(colours))]), company)
    return replace(plan, subjects=subjects, relation=RELATIONS[rng.integers(2)])


def _exchanged(subjects: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The subjects, each in the next one's colour."""
    colours = [colour for _, colour in subjects]
    return tuple(
        (kind, colour) for (kind, _), colour in zip(subjects, colours[1:] + colours[:1], strict=True)
    )


def twin(scene: Scene) -> Scene:
    """The scene's words bound otherwise, as a hard negative of the same size: see `twin_plan`."""
    return render(twin_plan(scene.plan), scene.image.width)


def render(plan: Plan, size: int = 256) -> Scene:
    """Draw `plan`, `size` pixels wide and high."""
    if size < MIN_SIZE:
        raise InputError(f"A scene is at least {MIN_SIZE} pixels wide, not {size}.")
    backdrop = BACKDROPS[plan.setting]
    kinds = tuple(kind for kind, _ in plan.subjects)
    rng = np.random.default_rng([plan.seed, 1])
    horizon = float(rng.uniform(*backdrop.horizon))
    ground = np.zeros((size, size, 3), np.uint8)
    backdrop.paint(ground, Pen(ground, size), rng, horizon)
    ground = _lit(ground, rng)
    for attempt in range(_ATTEMPTS):
        places = arrange(kinds, plan.relation, horizon, np.random.default_rng([plan.seed, 2, attempt]))
        image, masks, visible = _compose(plan, ground.copy(), places, size)
        if min(visible) >= _LEAST_VISIBLE:
            break
    grain = rng.integers(-3, 4, (size, size, 1), dtype=np.int16)
    pixels = np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    words = np.random.default_rng([plan.seed, 3])
    facts = Facts(plan.subjects, relations(kinds, places, plan.relation), plan.setting)
    queries = caption_queries(facts, plan.relation, words)
    names = [mention.phrase for mention in mentions(facts, words)]
    subjects = tuple(
        _subject(*pair, name, mask) for pair, name, mask in zip(plan.subjects, names, masks, strict=True)
    )
    return Scene(plan, Image.fromarray(pixels), subjects, describe_all(queries, words), queries, facts)


def _lit(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The backdrop in the light of some hour, mirrored half of the time."""
    mirrored = ground[:, ::-1] if rng.random() < 0.5 else ground
    warmth, light = float(rng.uniform(-0.7, 1)), float(rng.uniform(0.97, 1.03))
    gains = np.array([light * (1 + 0.025 * warmth), light, light * (1 - 0.035 * warmth)])
    table = np.clip(np.rint(np.arange(256)[None, :, None] * gains), 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(mirrored), table)


def _subject(kind: str, colour: str, name: str, mask: np.ndarray) -> SceneSubject:
    box = mask_bbox(mask)
    assert box is not None, "every subject stays visible"
    return SceneSubject(kind, colour, name, mask, box)


def _compose(
    plan: Plan, image: np.ndarray, places: tuple[Place, ...], size: int
) -> tuple[np.ndarray, list[np.ndarray], list[float]]:
    """Shadows, then figures from far to near: the image, each subject's visible mask, and the share of it
    that is visible."""
    backdrop = BACKDROPS[plan.setting]
    order = sorted(places, key=lambda place: (place.depth, place.y))
    on_top = {0} if plan.relation == "on" else set()
    for place in order:
        if place.index not in on_top:
            _shadow(image, place, plan.subjects[place.index][0], backdrop.shadow, size)
    alphas: dict[int, np.ndarray] = {}
    full: dict[int, int] = {}
    for place in order:
        kind, colour = plan.subjects[place.index]
        own = np.random.default_rng([plan.seed, 4, place.index])
        figure = cut_out(
            kind,
            colour,
            place.height * size,
            own,
            flip=place.flip,
            sitting=place.sitting,
            angle=place.angle,
            rim=backdrop.rim,
        )
        alpha = _lay(image, figure, place, size)
        for index, under in alphas.items():
            alphas[index] = (under.astype(np.uint16) * (255 - alpha) // 255).astype(np.uint8)
        alphas[place.index], full[place.index] = alpha, int(np.count_nonzero(alpha > 127))
    masks = [alphas[i] > 127 for i in range(len(places))]
    return image, masks, [np.count_nonzero(mask) / max(1, full[i]) for i, mask in enumerate(masks)]


def _lay(image: np.ndarray, figure: Cutout, place: Place, size: int) -> np.ndarray:
    alpha = np.zeros((size, size), np.uint8)
    covered = paste(image, figure.pixels, round(place.x * size) - figure.x, round(place.y * size) - figure.y)
    if covered is not None:
        rows, columns, piece = covered
        alpha[rows, columns] = piece
    return alpha


def _shadow(image: np.ndarray, place: Place, kind: str, colour: tuple[int, int, int], size: int) -> None:
    figure = FIGURES[kind]
    x0, _, x1, _ = place.box(kind)
    y = min(0.96, place.y + 0.30) if figure.flies else place.y
    half = (x1 - x0) * (0.28 if figure.flies else 0.46)
    if figure.floats:
        _pond(image, (x0 + x1) / 2, y, (x1 - x0) * 0.5, colour, size)
        return
    mask = np.zeros((size, size), np.uint8)
    pen = Pen(mask[:, :, None], size)
    pen.ellipse(
        (x0 + x1) / 2 + 0.02,
        y,
        half,
        max(0.012, min(0.035, half * 0.17)),
        (70 if figure.flies else 120, 0, 0),
    )
    top, bottom = max(0, int((y - 0.08) * size)), min(size, int((y + 0.08) * size) + 1)
    veil(image[top:bottom], cv2.GaussianBlur(mask[top:bottom], (0, 0), size / 90), colour)


def _pond(
    image: np.ndarray, x: float, y: float, half: float, shadow: tuple[int, int, int], size: int
) -> None:
    """A little pale water for what floats."""
    pen = Pen(image, size)
    water, bank = mix((170, 198, 206), shadow, 0.22), mix((214, 212, 200), shadow, 0.35)
    pen.ellipse(x, y, half * 1.10, half * 0.185, bank)
    pen.ellipse(x, y + 0.004, half * 1.05, half * 0.16, water)
    pen.ellipse(x, y - 0.002, half * 0.72, half * 0.085, mix(water, shadow, 0.45))
    for dx, dy, w in ((-0.75, 0.06, 0.2), (0.45, 0.10, 0.26), (-0.2, 0.125, 0.22)):
        pen.line([(x + (dx - w) * half, y + dy * half), (x + (dx + w) * half, y + dy * half)], 0.004,
            mix(water, (255, 255, 255), 0.5))  # fmt: skip
