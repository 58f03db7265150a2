"""An open run as the Failures tab sees it: pages of rows, measures, slices, histograms, the map, lists to vote on.

Plain JSON is given out; images are named by addresses, never by files. Knows no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from app.failures_state import FailuresState, build
from app.views import numbers, thumbnail_url
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.opponents import Opponents
    from ssa_me.failures import FailureRow, FailureRun, Selection
    from ssa_me.failures.projection import Projection
    from ssa_me.failures.slices import Slice, Tags
    from ssa_me.gallery.items import Item
    from ssa_me.gallery.store import Gallery

Json = dict[str, Any]
PAGE = 25
MOST_SLICES = 12
MOST_SKIPPED = 20
MOST_REPORTED = 60
_VERSIONS = ("baseline", "ssa-me")


class OpenRun:
    """A finished run `run` of the gallery with that id, `against` that version in the baseline's place. What takes long is
    found once and kept."""

    def __init__(
        self,
        id: str,
        gallery_id: str,
        run: FailureRun,
        gallery: Callable[[object], Gallery],
        opponents: Opponents,
        against: str | None,
    ) -> None:
        self.id, self.gallery_id, self.run, self.against = id, gallery_id, run, against
        self._gallery, self._opponents = gallery, opponents
        self._slices: dict[tuple[str, int], list[Slice]] = {}
        self._projections: dict[str, tuple[np.ndarray, dict[str, Projection]]] = {}

    @cached_property
    def tags(self) -> Tags:
        from ssa_me.failures import tags_of

        return tags_of(self.run.table)

    @cached_property
    def measured(self) -> Json:
        from ssa_me.failures import measure

        return measure(self.run.table)

    def gallery(self) -> Gallery:
        """The run's gallery. Raises InputError where it is gone."""
        return self._gallery(self.gallery_id)

    # The table

    def selection(self, state: FailuresState) -> Selection:
        """What a state selects. Raises InputError where it makes no sense."""
        from ssa_me.failures import Selection
        from ssa_me.failures.table import OUTCOMES

        outcome = next((known for known in OUTCOMES if known == state.outcome), None)
        if outcome is None:
            raise InputError(
                f"There is no outcome {state.outcome[:20]!r}. Choose one of {', '.join(OUTCOMES)}."
            )
        return Selection(
            outcome=outcome,
            k=state.k,
            text=state.text,
            ranges=state.ranges,
            tags=state.tags,
            images=self._inside(state),
            sort=state.sort,
            descending=state.descending,
        )

    def rows(self, state: FailuresState) -> np.ndarray:
        """The numbers of all rows that a state selects, in its order."""
        from ssa_me.failures import select

        return select(self.run.table, self.selection(state), self.tags)

    def page(self, state: FailuresState) -> Json:
        """Everything that the table shows of a state."""
        from ssa_me.failures.selection import HISTOGRAMS, chosen, histogram
        from ssa_me.failures.table import counted

        table, selection, rows = self.run.table, self.selection(state), self.rows(state)
        offset = min(state.offset, max(0, len(rows) - 1)) // PAGE * PAGE
        spread = (
            histogram(table, name, chosen(table, selection, self.tags, without=name)) for name in HISTOGRAMS
        )
        return {
            "run": self._about(),
            "parameters": build(state),
            "state": {
                "outcome": state.outcome,
                "k": state.k,
                "text": state.text,
                "ranges": {name: list(span) for name, span in state.ranges.items()},
                "tags": [list(tag) for tag in state.tags],
                "lasso": state.lasso is not None,
                "sort": state.sort,
                "descending": state.descending,
            },
            "measures": self._measures(),
            "counts": counted(table, selection.k),
            "slices": [self._slice(found, state) for found in self.slices(selection)[:MOST_SLICES]],
            "histograms": [found.to_json() for found in spread],
            "total": len(rows),
            "offset": offset,
            "limit": PAGE,
            "rows": self._shown(int(at) for at in rows[offset : offset + PAGE]),
        }

    def slices(self, selection: Selection) -> list[Slice]:
        """What the failures of a selection's outcome have in common."""
        from ssa_me.failures.summary import failing_slices

        key = selection.outcome, selection.k
        if key not in self._slices:
            self._slices[key] = failing_slices(self.run.table, self.tags, selection)
        return self._slices[key]

    def row(self, at: object) -> FailureRow:
        """Row number `at`. Raises InputError where there is none."""
        if type(at) is not int or not 0 <= at < len(self.run.table):
            raise InputError("There is no such query in this run. Open the run again.")
        return self.run.table.row(at)

    def _about(self) -> Json:
        run = self.run
        return {
            "id": self.id,
            "name": run.name,
            "gallery": self.gallery_id,
            "gallery_name": run.gallery,
            "ranking": run.ranking,
            "queries": len(run.table),
            "images": run.images,
            "seconds": round(run.seconds, 2),
            "notes": list(run.notes),
            "skipped": [list(pair) for pair in run.skipped[:MOST_SKIPPED]],
            "skipped_count": len(run.skipped),
            "fingerprints": dict(run.fingerprints),
            "titles": dict(run.titles),
            "against": self.against,
        }

    def _measures(self) -> list[Json]:
        from ssa_me.failures.summary import MEASURES

        found = []
        for name, title in MEASURES.items():
            gap = self.measured["difference"][name]
            models = {version: numbers([self.measured["models"][version][name]])[0] for version in _VERSIONS}
            found.append(
                {
                    "name": name,
                    "title": title,
                    "models": models,
                    "value": gap["value"],
                    "interval": gap["interval"],
                }
            )
        return found

    def _slice(self, found: Slice, state: FailuresState) -> Json:
        chosen = (found.column, found.value) in state.tags
        return found.to_json() | {"chosen": chosen}

    def _shown(self, rows: Iterable[int]) -> list[Json]:
        found = [self.run.table.row(at) for at in rows]
        items = self._items({id for row in found for id in (row.target, row.top_baseline, row.top_ssa_me)})
        return [
            row.to_json() | {name: self._image(id, items) for name, id in _images_of(row)} for row in found
        ]

    def _items(self, ids: Iterable[int]) -> Mapping[int, Item]:
        """The images that are still there, by id."""
        try:
            return self.gallery().items_of(ids)
        except InputError:
            return {}

    def _image(self, id: int, items: Mapping[int, Item]) -> Json:
        item = items.get(id)
        if item is None:
            return {"id": id, "name": f"image {id}", "thumb": None}
        return {"id": id, "name": item.file_name, "thumb": thumbnail_url(self.gallery_id, item)}

    # The map

    def projection(self, method: str) -> tuple[np.ndarray, dict[str, Projection]]:
        """Ids (N,) of the gallery's images, and version → their points. Raises InputError where it cannot be made."""
        from ssa_me.failures.projection import project
        from ssa_me.gallery.items import Spaces

        if method not in self._projections:
            gallery = self.gallery()
            spaces = Spaces(self.run.fingerprints)
            found = {version: gallery.index(spaces.images(version)) for version in _VERSIONS}
            indexes = {version: index for version, index in found.items() if index is not None}
            if len(indexes) < len(_VERSIONS):
                raise InputError("The gallery no longer has the vectors of this run. Run the queries again.")
            known = set.intersection(*({image for image, _, _ in i.owners} for i in indexes.values()))
            ids = np.array(sorted(known), dtype=np.int64)
            vectors = [np.concatenate([i.of(int(id)) for id in ids]) for i in indexes.values()]
            self._projections[method] = ids, dict(zip(indexes, project(vectors, method), strict=True))
        return self._projections[method]

    def cloud(self, state: FailuresState, method: str, column: str) -> Json:
        """The map: ids, points of both models, what colours them, and which images are right for a selected query."""
        from ssa_me.failures.projection import available_methods

        ids, found = self.projection(method)
        targets = self.run.table.numbers["target"]
        selected = np.isin(ids, targets[self.rows(state)])
        return {
            "gallery": self.gallery_id,
            "titles": dict(self.run.titles),
            "methods": list(available_methods()),
            "method": method,
            "ids": ids.tolist(),
            "points": {version: np.round(one.points, 3).tolist() for version, one in found.items()},
            "explained": {version: one.explained for version, one in found.items()},
            "colours": self._colours(ids, column),
            "columns": self._colour_columns(),
            "selected": selected.astype(int).tolist(),
        }

    def _inside(self, state: FailuresState) -> frozenset[int] | None:
        from ssa_me.failures.projection import inside

        if state.lasso is None:
            return None
        ids, found = self.projection(state.lasso.method)
        points = found[state.lasso.version].points
        return frozenset(ids[inside(points, np.array(state.lasso.corners))].tolist())

    def _colour_columns(self) -> list[list[str]]:
        from ssa_me.failures.table import NUMBERS

        free = [name for name, values in self.run.table.extra.items() if 1 < len(set(values)) <= 20]
        return [
            *([name, title] for name, title in NUMBERS.items()),
            ["kind", "kind"],
            *([name, name] for name in free),
        ]

    def _colours(self, ids: np.ndarray, column: str) -> Json:
        """A value an image: the mean of a column of numbers over the queries that it is right for, or of a column of texts
        the most frequent; null where no query asks for it."""
        from ssa_me.failures.table import NUMBERS

        table = self.run.table
        place = {int(id): at for at, id in enumerate(ids)}
        at = np.array([place.get(int(target), -1) for target in table.numbers["target"]])
        if column in NUMBERS:
            values = table.numbers[column]
            known = (at >= 0) & ~np.isnan(values)
            count = np.bincount(at[known], minlength=len(ids))
            means = np.bincount(at[known], weights=values[known], minlength=len(ids)) / np.maximum(count, 1)
            shown = [float(f"{m:.4g}") if n else None for m, n in zip(means, count, strict=True)]
            inside = [value for value in shown if value is not None] or [0.0]
            return {
                "column": column,
                "kind": "number",
                "values": shown,
                "low": min(inside),
                "high": max(inside),
            }
        if column not in dict(self._colour_columns()):
            raise InputError(f"The map cannot be coloured by {column[:40]!r}. Choose from its list.")
        names, codes = np.unique(np.array(table.text_column(column), dtype=object), return_inverse=True)
        votes = np.zeros((len(ids), len(names)), dtype=np.int64)
        np.add.at(votes, (at[at >= 0], codes[at >= 0]), 1)
        best = votes.argmax(axis=1)
        return {
            "column": column,
            "kind": "category",
            "names": [str(name) or "–" for name in names],
            "values": [int(code) if votes[row, code] else None for row, code in enumerate(best)],
        }

    # Exports

    def names(self) -> dict[int, str]:
        """Id → file name of the gallery's images; none where it is gone."""
        try:
            gallery = self.gallery()
            return {item.id: item.file_name for item in gallery.items(0, len(gallery))}
        except InputError:
            return {}

    def csv(self, state: FailuresState) -> str:
        from ssa_me.failures.export import rows_csv

        return rows_csv(self.run.table, self.rows(state), self.names())

    def json(self, state: FailuresState) -> Json:
        """The selected rows with the run's measures."""
        from ssa_me.failures.export import rows_json

        return {
            "run": self._about(),
            "selection": build(state),
            "measures": self.measured,
            "rows": rows_json(self.run.table, self.rows(state), self.names()),
        }

    def report(self, state: FailuresState) -> str:
        """The first selected rows as one HTML page."""
        from ssa_me.failures.summary import report_html

        selection, names = self.selection(state), self.names()
        rows = self.rows(state)[:MOST_REPORTED]
        table = self.run.table
        ids = {id for at in rows for _, id in _images_of(table.row(int(at)))}
        pictures = {id: item.thumbnail for id, item in self._items(ids).items()}
        command = (
            ""
            if self.against
            else f"python -m ssa_me failures --gallery workspace/galleries/{self.gallery_id} --out failures "
            f"--ranking {self.run.ranking} -k {state.k} --outcome {state.outcome}"
        )
        return report_html(
            self.run, selection, rows, names, pictures, self.measured, self.slices(selection), command
        )

    # Lists to vote on

    def lists(self, row: FailureRow, count: int) -> dict[str, list[Json]]:
        """Version → the first images for a row's query. Raises InputError where another model is loaded now."""
        from ssa_me.failures.mining import first_images

        embedder = self._opponents.embedder(self.against)
        if dict(embedder.info.fingerprints) != dict(self.run.fingerprints):
            raise InputError("Another model made this run. Run the queries again to vote.")
        candidates = self.run.table.candidates[row.row]
        found = first_images(self.gallery(), embedder, row.query, self.run.ranking, candidates, count)
        items = self._items({id for ids in found.values() for id in ids})
        return {version: [self._image(id, items) for id in ids] for version, ids in found.items()}


def _images_of(row: FailureRow) -> tuple[tuple[str, int], ...]:
    return ("target", row.target), ("top_baseline", row.top_baseline), ("top_ssa_me", row.top_ssa_me)
