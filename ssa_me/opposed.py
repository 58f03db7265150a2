"""`Opposed`: two models as if they were one, another model's SSA-ME standing where the baseline does.

Whatever compares a baseline with SSA-ME compares two versions of a model by it, and need not know. Each model sees an image
by a vision pass of its own. What is one thing for both, subjects and salience, is that of the first; so numbers of both
are of the same phrases and regions. It keeps nothing and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ssa_me.checkpoint import BASELINE, SSA_ME, VERSIONS
from ssa_me.embedder import SalientEmbedder
from ssa_me.embedding import Embedded, check_versions
from ssa_me.explanation import Alignment, Explanation, RegionTable, SalienceMode
from ssa_me.model_info import ModelInfo
from ssa_me.redrawing import Redrawn
from ssa_me.regridding import moved_level, moved_mass
from ssa_me.samples import BBox, Sample


class Opposed:
    """An `Embedder` of the versions "ssa-me", that of `own`, and "baseline", which is SSA-ME of `other`. titles: what people
    call the two, `other` first. Thread-safe as both are."""

    def __init__(self, other: SalientEmbedder, own: SalientEmbedder, titles: tuple[str, str]) -> None:
        self.sides: Mapping[str, SalientEmbedder] = {BASELINE: other, SSA_ME: own}
        self._other, self._own = other, own
        prints = {version: side.info.fingerprints[SSA_ME] for version, side in self.sides.items()}
        self.info: ModelInfo = replace(
            own.info,
            fingerprints=prints,
            trained={version: side.info.trained[SSA_ME] for version, side in self.sides.items()},
            titles=dict(zip((BASELINE, SSA_ME), titles, strict=True)),
            heads=prints,
        )

    def has_codes(self, version: str) -> bool:
        return self.sides[version].has_codes(SSA_ME)

    def reads_claims(self, version: str) -> bool:
        return self.sides[version].reads_claims(SSA_ME)

    @property
    def layers(self) -> tuple[int, ...] | None:
        return self._own.layers

    def phrases(self, text: str) -> tuple[str, ...]:
        return self._own.phrases(text)

    def reads_whole(self, text: str) -> bool:
        return all(side.reads_whole(text) for side in self.sides.values())

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
        """As `SalientEmbedder.embed`; the regions are those of the last of `versions`."""
        check_versions(versions)
        found = {}
        for version in versions:
            found[version] = self.sides[version].embed(
                samples,
                versions=(SSA_ME,),
                subjects=subjects,
                conditioned_on=conditioned_on,
                salience=salience,
                batch_size=batch_size,
            )
        return Embedded(
            {version: of_one.vectors[SSA_ME] for version, of_one in found.items()},
            found[versions[-1]].regions,
            {version: of_one.subject_vectors[SSA_ME] for version, of_one in found.items()},
        )

    def embed_query(
        self,
        text: str | None,
        image: Image.Image | None,
        image_weight: float = 0.5,
        versions: Sequence[str] = VERSIONS,
    ) -> dict[str, np.ndarray]:
        check_versions(versions)
        return {v: self.sides[v].embed_query(text, image, image_weight, (SSA_ME,))[SSA_ME] for v in versions}

    def embed_region(
        self, image: Image.Image, bbox: BBox, versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        check_versions(versions)
        return {v: self.sides[v].embed_region(image, bbox, (SSA_ME,))[SSA_ME] for v in versions}

    def embed_redrawn(self, image: Image.Image, drawn: Sequence[BBox]) -> Redrawn:
        found = {version: side.embed_redrawn(image, drawn) for version, side in self.sides.items()}
        return replace(
            found[SSA_ME],
            vectors={version: of_one.vectors[SSA_ME] for version, of_one in found.items()},
            subject_vectors={version: of_one.subject_vectors[SSA_ME] for version, of_one in found.items()},
        )

    def explain(
        self,
        image: Image.Image,
        text: str | None,
        phrases: Sequence[str] | None = None,
        salience: SalienceMode = "head",
        also: Sequence[str] = (),
        heads: bool = False,
    ) -> Explanation:
        """As `SalientEmbedder.explain`. The other's attention is moved onto the own model's tokens where they differ, and
        its subject vectors are taken of the regions that the own model found."""
        own = self._own.explain(image, text, phrases, salience, also, heads)
        theirs = self._other.explain(image, text, own.subjects.phrases, salience, (), heads)

        def moved(rows: np.ndarray) -> np.ndarray:
            return moved_mass(rows, theirs.boxes, own.boxes)

        attention = {BASELINE: moved(theirs.attention[SSA_ME]), SSA_ME: own.attention[SSA_ME]}
        table = own.table and self._table(image, own, own.table, theirs.boxes, attention[BASELINE])
        similarity = {version: of_one.similarity for version, of_one in ((BASELINE, theirs), (SSA_ME, own))}
        return replace(
            own,
            similarity={version: row[SSA_ME] for version, row in similarity.items() if SSA_ME in row},
            attention=attention,
            attention_on_image={version: float(row.sum()) for version, row in attention.items()},
            alignment=_aligned(own.alignment, table) if table else own.alignment,
            seconds={
                name: own.seconds.get(name, 0.0) + theirs.seconds.get(name, 0.0)
                for name in own.seconds.keys() | theirs.seconds.keys()
            },
            table=table,
            heads={BASELINE: moved(theirs.heads[SSA_ME]), SSA_ME: own.heads[SSA_ME]} if heads else {},
        )

    def _table(
        self,
        image: Image.Image,
        own: Explanation,
        table: RegionTable,
        boxes: np.ndarray,
        attention: np.ndarray,
    ) -> RegionTable:
        """The table with the other model's scores in the baseline's place. boxes: of the other's tokens; attention (N,) of
        the other, on the own tokens."""
        spoken = self._other.embed([Sample(one.phrase) for one in own.alignment], versions=(SSA_ME,))
        weights = moved_level(table.weights, own.boxes, boxes)
        rows = self._other.embed_weighted(image, weights, (SSA_ME,))[SSA_ME]
        inside = (table.weights > 0) @ attention / max(float(attention.sum()), 1e-12)
        return replace(
            table,
            scores={BASELINE: spoken.vectors[SSA_ME] @ rows.T, SSA_ME: table.scores[SSA_ME]},
            inside={BASELINE: inside, SSA_ME: table.inside[SSA_ME]},
        )


def _aligned(found: Sequence[Alignment], table: RegionTable) -> tuple[Alignment, ...]:
    """The alignments with the scores and the attention inside that the table has of their own regions."""
    own = {owner: at for at, owner in enumerate(table.owners) if owner is not None}
    return tuple(
        replace(
            one,
            scores={version: float(rows[k, own[k]]) for version, rows in table.scores.items()},
            attention={version: float(row[own[k]]) for version, row in table.inside.items()},
        )
        if k in own
        else one
        for k, one in enumerate(found)
    )
