"""The model's passes as the two versions run them: adapters mixed, salience found, tokens regenerated, subjects pooled.

One step below the facade. It holds no lock and no user input: its owner calls it under a lock and in inference mode.

B samples, N image tokens, K subjects of an image, D width. Boxes are in pixels of the upright image.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import SSA_ME, VERSIONS, Parts, Settings
from ssa_me.composition import RELATED, Seen, Spoken, SubjectComposition, places
from ssa_me.devices import free_bytes
from ssa_me.errors import InputError
from ssa_me.explanation import Region
from ssa_me.outputs import LanguagePass, VisualBatch
from ssa_me.regeneration import Regenerated
from ssa_me.salience import relevance
from ssa_me.salience.experts import VisualExpert
from ssa_me.salience.fusion import to_tokens
from ssa_me.salience.regions import TokenRegion, grow, peaks
from ssa_me.salience.subjects import subject_asked
from ssa_me.samples import BBox

MOST_SUBJECTS = 6


@dataclass(frozen=True)
class Salient:
    """Salience of a batch: (B, N) in [0, 1], the regions of its peaks, and of which images a phrase was asked for."""

    salience: Tensor
    regions: tuple[tuple[TokenRegion, ...], ...]
    asked: tuple[bool, ...]

    @cached_property
    def stacked(self) -> Tensor:
        """(B, K, N) region weights, zeros where an image has fewer than the most."""
        batch, tokens = self.salience.shape
        stacked = np.zeros((batch, max((len(r) for r in self.regions), default=0), tokens), dtype=np.float32)
        for b, regions in enumerate(self.regions):
            for k, region in enumerate(regions):
                stacked[b, k, : len(region.weights)] = region.weights
        return torch.from_numpy(stacked).to(self.salience.device, self.salience.dtype)

    def select(self, rows: Sequence[int]) -> Salient:
        """That of the images in `rows`, one of which may come more than once."""
        return Salient(
            self.salience[list(rows)],
            tuple(self.regions[row] for row in rows),
            tuple(self.asked[row] for row in rows),
        )


class Passes:
    """What both versions share. distilled: a trained salience head is there; without one the expert finds salience."""

    def __init__(
        self,
        backbone: Backbone,
        adapters: Adapters,
        parts: Parts | None,
        settings: Settings,
        expert: VisualExpert,
    ) -> None:
        trained = parts if parts is not None else Parts(backbone.width, settings)
        self.backbone, self.adapters, self.settings, self.expert = backbone, adapters, settings, expert
        self.parts = trained.to(backbone.device, backbone.dtype).eval()
        self.fresh = Parts(backbone.width, settings).to(backbone.device, backbone.dtype).eval()
        self.distilled = parts is not None

    def copied(self) -> Passes:
        """The same in float32, sharing no weight. InputError where the memory that is free does not hold it."""
        device = self.backbone.device
        numbers = sum(p.numel() for module in (self.backbone.model, self.parts) for p in module.parameters())
        if 4 * numbers > free_bytes(device):
            raise InputError(
                f"A copy of this model in fp32 takes {4 * numbers / 2**30:.1f} GB, and {free_bytes(device) / 2**30:.1f} GB "
                f"are free on {device}. Run on a device with more memory, such as --device cpu."
            )
        made = copy.deepcopy(self)
        for module in (made.backbone.model, made.parts, made.fresh):
            module.float()
        return made

    def speak(self, texts: Sequence[str], versions: Sequence[str] = VERSIONS) -> dict[str, Tensor]:
        """Version → (B, D) float32 of unit length of texts without an image, all versions in one pass, with the subjects
        that they name composed into SSA-ME's."""
        return self.tell(texts, versions)[0]

    def tell(
        self, texts: Sequence[str], versions: Sequence[str] = VERSIONS, stated: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        """What `speak` gives, and where `stated`, out of the same pass, version → for each text (S, D) of unit length what it
        states: its phrases, its setting, its relation. Without trained parts a phrase is what it is read as."""
        composed = SSA_ME in versions and self.distilled
        spoken = Spoken.of(texts) if composed or stated else None
        rows = self._alone(spoken.readings if spoken else texts, versions)
        told = {version: of_all[: len(texts)] for version, of_all in rows.items()}
        statements: dict[str, list[Tensor]] = {}
        if composed and spoken:
            told[SSA_ME] = compose_texts(self.parts.composition, rows[SSA_ME], spoken)
        if stated and spoken:
            for version, of_all in rows.items():
                composition = self._composition(version)
                said = spoken.said(composition, composition.phrase_codes(of_all))
                statements[version] = said.statements()
        return told, statements

    def _alone(self, texts: Sequence[str], versions: Sequence[str]) -> dict[str, Tensor]:
        """Version → (T, D) float32 of unit length of texts as they are read, nothing composed into them, in one pass."""
        with self.adapters.mixed(versions, len(texts)):
            output = self.backbone.language_pass([*texts] * len(versions))
        return dict(zip(versions, output.embedding().split(len(texts)), strict=True))

    def read(
        self,
        texts: Sequence[str],
        visual: VisualBatch,
        found: Salient | None,
        versions: Sequence[str] = VERSIONS,
        rows: bool = False,
        control: bool = False,
        heads: bool = False,
    ) -> dict[str, LanguagePass]:
        """Version → its language pass, all in one: the baseline's on V, SSA-ME's on the regenerated V″ with its bias.

        control: the baseline too is suppressed by the same salience, without trained parts. Without it a comparison
        under conditioned salience would give SSA-ME regions that the baseline never had.
        """
        seen = [self._regenerated(version, visual, found, control) for version in versions]
        bias = torch.cat([bias for _, bias in seen]) if any(bias.any() for _, bias in seen) else None
        with self.adapters.mixed(versions, len(visual)):
            output = self.backbone.language_pass(
                [*texts] * len(versions), VisualBatch.join([batch for batch, _ in seen]), bias, rows, heads
            )
        return dict(zip(versions, output.split(len(visual)), strict=True))

    def _regenerated(
        self, version: str, visual: VisualBatch, found: Salient | None, control: bool
    ) -> tuple[VisualBatch, Tensor]:
        """What a version reads, and its key bias (B, N)."""
        if found is None or (version != SSA_ME and not control):
            return visual, torch.zeros(visual.valid.shape, device=visual.valid.device)
        regeneration = self.parts.regeneration if version == SSA_ME else self.fresh.regeneration
        regenerated: Regenerated = regeneration(visual, found.salience, found.stacked, found.asked)
        return regenerated.visual, regenerated.key_bias

    def salience(
        self, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str | None]
    ) -> Salient:
        """Salience for each image's phrase, None being query-free: the head's, or the expert's where none was
        trained."""
        asked = [bool(phrase) for phrase in phrases]
        return found_regions(self._salience(visual, images, phrases), visual, self.settings.likeness, asked)

    def salience_of_any(
        self, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str]
    ) -> Salient:
        """The largest salience over `phrases`, the same of all images; query-free without any."""
        asked: Sequence[str | None] = phrases or [None]
        each = [self._salience(visual, images, [phrase] * len(images)) for phrase in asked]
        every = [bool(phrases)] * len(images)
        return found_regions(torch.stack(each).amax(0), visual, self.settings.likeness, every)

    def _salience(
        self, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str | None]
    ) -> Tensor:
        """(B, N), regions not yet looked for."""
        if self.distilled:
            return self.head_salience(visual, phrases)
        rows = np.zeros(visual.valid.shape, dtype=np.float32)
        found = self.expert.maps(images, [[phrase or ""] for phrase in phrases])
        for b, (image, count) in enumerate(zip(images, visual.counts(), strict=True)):
            rows[b, :count] = to_tokens(found[b][0], visual.boxes[b, :count], image.size)
        return torch.from_numpy(rows).to(visual.tokens)

    def head_salience(self, visual: VisualBatch, phrases: Sequence[str | None]) -> Tensor:
        head = self.parts.head
        named = [i for i, phrase in enumerate(phrases) if phrase]
        tokens, valid, centres = visual.tokens, visual.valid, visual.centres
        salience: Tensor = head.salience(tokens, valid, centres)
        if named:
            distinct = list(dict.fromkeys(phrases[i] or "" for i in named))
            spoken = self._alone(distinct, (SSA_ME,))[SSA_ME]  # as the head learned them
            rows = spoken[[distinct.index(phrases[i] or "") for i in named]].to(visual.tokens.dtype)
            salience[named] = head.salience(tokens[named], valid[named], centres[named], rows)
        return salience

    def attention(self, visual: VisualBatch, found: Salient, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Version → (B, N): the last token's attention on image tokens, mean over heads and the chosen layers."""
        result = {}
        for version, output in self.read(texts, visual, found, rows=True).items():
            assert output.rows is not None and output.hidden is not None
            mean = relevance.layer_mean(output.rows.float(), self.settings.layers)
            result[version] = (mean * ~relevance.sink_tokens(output.hidden)).cpu().numpy()
        return result

    def layer_attention(
        self, visual: VisualBatch, found: Salient, texts: Sequence[str], versions: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Version → (B, L, N): the last token's attention on image tokens layer by layer, sinks removed."""
        result = {}
        for version, output in self.read(texts, visual, found, versions, rows=True).items():
            assert output.rows is not None and output.hidden is not None
            result[version] = (
                (output.rows.float() * ~relevance.sink_tokens(output.hidden)[:, None]).cpu().numpy()
            )
        return result

    def head_attention(
        self, visual: VisualBatch, found: Salient, texts: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Version → (B, L, H, N): the last token's attention on image tokens layer by layer and head by head, sinks
        removed. Its mean over heads and the chosen layers is `attention`."""
        result = {}
        for version, output in self.read(texts, visual, found, rows=True, heads=True).items():
            assert output.rows is not None and output.hidden is not None
            sinks = relevance.sink_tokens(output.hidden)[:, None, None]
            result[version] = (output.rows.float() * ~sinks).cpu().numpy()
        return result

    def image_vectors(
        self, outputs: Mapping[str, LanguagePass], visual: VisualBatch, found: Salient | None
    ) -> dict[str, Tensor]:
        """Version → (B, D) float32 of unit length of images alone, out of their passes: the last token's state, with
        SSA-ME's subjects composed into it."""
        vectors = {version: output.embedding() for version, output in outputs.items()}
        if found is not None and self.distilled and SSA_ME in outputs:
            seen = see(self.parts.composition, outputs[SSA_ME], visual, found)
            vectors[SSA_ME] = self.parts.composition.compose(vectors[SSA_ME], seen)
        return vectors

    def vectors(
        self,
        outputs: Mapping[str, LanguagePass],
        texts: Sequence[str],
        visual: VisualBatch,
        found: Salient | None,
    ) -> dict[str, Tensor]:
        """Version → (B, D) float32 of unit length of images with `texts`, blank for an image alone: the subjects that are seen
        are composed into those alone; image and text together become what a phrase that answers the text would, with the
        subject in it that the text asks for."""
        alone = [not text.strip() for text in texts]
        if all(alone):
            return self.image_vectors(outputs, visual, found)
        vectors = {version: output.embedding() for version, output in outputs.items()}
        if self.distilled and SSA_ME in vectors:
            vectors[SSA_ME] = self._answers(outputs[SSA_ME], texts, visual)
        if any(alone):
            images = self.image_vectors(outputs, visual, found)
            rows = torch.tensor(alone, device=visual.valid.device)[:, None]
            vectors = {v: torch.where(rows, images[v], vectors[v]) for v in vectors}
        return vectors

    def _answers(self, output: LanguagePass, texts: Sequence[str], visual: VisualBatch) -> Tensor:
        """(B, D) float32 of unit length: what images answer to texts, each with the subject that the head finds under its
        text, where that asks for one."""
        composition, vector = self.parts.composition, output.embedding()
        codes, there = torch.zeros_like(vector), torch.zeros_like(visual.valid[:, 0])
        asked = [subject_asked(text) for text in texts]
        rows = [row for row, phrase in enumerate(asked) if phrase]
        if rows:
            assert output.hidden is not None
            sought = visual.select(rows)
            salience = self.head_salience(sought, [asked[row] for row in rows])
            found = found_regions(salience, sought, self.settings.likeness, [True] * len(rows))
            top = found.stacked[:, :1].sum(1, keepdim=True)  # nought where nothing was found
            hidden = output.hidden[rows, : top.shape[-1]]
            shown = composition.regions(hidden, sought.tokens, sought.valid, top)[:, 0]
            codes[rows], there[rows] = composition.subject_codes(shown), top[:, 0].any(-1)
        return composition.compose_answer(vector, codes, there)

    def region_vectors(
        self, version: str, output: LanguagePass, visual: VisualBatch, found: Salient
    ) -> tuple[np.ndarray, ...]:
        """B arrays (K_b + P_b + 1, D): each image's subject vectors, those of the relations between them, and that of the
        ground, in the order of `things_of`; none where no subject was found. A relation's is the shorter the less certain it
        is; the others are of unit length."""
        composition = self._composition(version)
        seen = see(composition, output, visual, found)
        related, there = composition.related(seen)
        bound = related / related.norm(dim=-1, keepdim=True).clamp(min=1)
        none = seen.ground[:0].cpu().numpy()
        return tuple(
            torch.cat([seen.subjects[b, : len(own)], bound[b][there[b]], seen.ground[b : b + 1]])
            .cpu()
            .numpy()
            if own
            else none
            for b, own in enumerate(found.regions)
        )

    def subject_vectors(
        self, version: str, output: LanguagePass, visual: VisualBatch, found: Salient
    ) -> tuple[np.ndarray, ...]:
        """B arrays (K_b, D) of unit length: s_k of each region. The baseline's are the mean of H: no trained part."""
        if found.stacked.shape[1] == 0:
            return self._none(found)
        rows = see(self._composition(version), output, visual, found).subjects.cpu().numpy()
        return tuple(rows[b, : len(regions)] for b, regions in enumerate(found.regions))

    def _none(self, found: Salient) -> tuple[np.ndarray, ...]:
        return tuple(np.zeros((0, self.backbone.width), dtype=np.float32) for _ in found.regions)

    def _composition(self, version: str) -> SubjectComposition:
        return self.parts.composition if version == SSA_ME else self.fresh.composition


def found_regions(salience: Tensor, visual: VisualBatch, likeness: float, asked: Sequence[bool]) -> Salient:
    """Salience (B, N), of those images that are `asked` (B) for a phrase, with its regions: of its peaks, or where tokens of
    one region are to be at least so alike (more than −1), grown by what tokens show."""
    values = salience.detach().float().cpu().numpy()
    shown = visual.tokens.detach().float().cpu().numpy()
    regions = tuple(
        grow(values[b, :count], visual.boxes[b, :count], shown[b, :count], likeness, MOST_SUBJECTS)
        if likeness > -1
        else peaks(values[b, :count], visual.boxes[b, :count], MOST_SUBJECTS)
        for b, count in enumerate(visual.counts())
    )
    return Salient(salience, regions, tuple(asked))


def things_of(found: Sequence[TokenRegion], size: tuple[int, int]) -> tuple[Region, ...]:
    """The regions of an image's subjects, the box around each ordered pair of the first of them, and the ground, which is
    all of the image; none without subjects."""
    singles = tuple(Region(region.bbox, region.salience) for region in found)
    pairs = permutations(singles[:RELATED], 2)
    around = (Region(_around(a.bbox, b.bbox), (a.salience + b.salience) / 2, single=False) for a, b in pairs)
    ground = Region((0.0, 0.0, *size), 0.0, single=False)
    return (*singles, *around, ground) if singles else ()


def _around(a: BBox, b: BBox) -> BBox:
    x, y = min(a[0], b[0]), min(a[1], b[1])
    return x, y, max(a[0] + a[2], b[0] + b[2]) - x, max(a[1] + a[3], b[1] + b[3]) - y


def sizes_of(visual: VisualBatch) -> Tensor:
    """(B, 2) float32 width, height of the images in pixels."""
    return torch.tensor(visual.sizes, dtype=torch.float32)


def see(composition: SubjectComposition, output: LanguagePass, visual: VisualBatch, found: Salient) -> Seen:
    """The subjects of found regions and the ground around them, out of a pass over images alone."""
    return look(composition, output, visual, found).coded(composition)


def look(composition: SubjectComposition, output: LanguagePass, visual: VisualBatch, found: Salient) -> Seen:
    """The same before codes: what the regions show, a."""
    assert output.hidden is not None
    regions = found.stacked
    ground = ((1 - found.salience) * visual.valid)[:, None].to(regions)
    everything = torch.cat([regions, ground], dim=1)
    shown = composition.regions(output.hidden, visual.tokens, visual.valid, everything)
    boxes, sizes = torch.from_numpy(visual.boxes).to(regions.device), sizes_of(visual).to(regions.device)
    where = places(regions.float(), boxes.float(), sizes)
    return Seen(shown[:, :-1], regions.sum(-1) > 0, where, shown[:, -1])


def compose_texts(composition: SubjectComposition, spoken: Tensor, named: Spoken) -> Tensor:
    """(T, D) float32 of unit length of texts with their subjects in them, out of all that is `spoken` (S, D) for them."""
    codes = composition.phrase_codes(spoken)
    return composition.compose_text(spoken[: len(named.phrases)], named.said(composition, codes))
