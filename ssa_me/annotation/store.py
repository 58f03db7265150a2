"""`AnnotationStore`: what annotators are asked, what they decided, and who works on what. Knows no model and no page.

One SQLite file in WAL mode. A decision is on the disk when `decide` returns, and none is ever overwritten: undo and redo
are rows of the log too. Any number of threads and processes may use the same file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ssa_me.annotation import agreement, log, queue
from ssa_me.annotation.database import (
    Database,
    subject_text,
    to_decision,
    to_item,
    to_picture,
    to_subject,
    to_truth,
)
from ssa_me.annotation.records import (
    EVERYTHING,
    KEEPING,
    KEPT,
    Decision,
    Filters,
    Item,
    Outcome,
    Picture,
    Progress,
    Proposal,
    check_name,
    check_subject,
)
from ssa_me.errors import InputError
from ssa_me.samples import Subject

LEASE = 600.0
"""Seconds for which an item is kept for the annotator who looks at it."""
MOST_JUDGES = 5
LONGEST = 3600.0
PACE_OF = 50
"""An annotator's pace is the median over so many of the last decisions."""


class AnnotationStore:
    """The annotations of one gallery. `clock` gives the time in seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] = time.time) -> AnnotationStore:
        """Open the file, or make it. Raises InputError where that is not possible."""
        database = Database(path)
        database.prepare()
        return cls(database, clock)

    # What is asked

    def add(self, pictures: Iterable[Picture], proposals: Iterable[Proposal]) -> int:
        """Add proposals that are not there yet, and their images; returns how many were new. A proposal that is there
        keeps its decisions; only its scores are renewed."""
        with self._database.writing() as db:
            rows = [(p.id, p.file_name, p.width, p.height, json.dumps(p.captions)) for p in pictures]
            db.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)", rows)
            before = db.execute("SELECT count(*) FROM items").fetchone()[0]
            for proposal in proposals:
                _insert(db, proposal, None, self._clock())
            return int(db.execute("SELECT count(*) FROM items").fetchone()[0] - before)

    @property
    def judges(self) -> int:
        """How many annotators shall judge each item; more than 1 where agreement is wanted."""
        with self._database.reading() as db:
            return queue.wanted(db)

    def want_judges(self, count: int) -> None:
        """Ask for `count` annotators an item. Raises InputError unless it is 1 to 5."""
        if count not in range(1, MOST_JUDGES + 1):
            raise InputError(
                f"{count} annotators an item are too many or too few. Choose 1 to {MOST_JUDGES}."
            )
        with self._database.writing() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES ('judges', ?)", (str(count),))

    def next(
        self,
        annotator: str,
        order: str = "uncertainty",
        filters: Filters = EVERYTHING,
        passed: Sequence[int] = (),
        count: int = 1,
    ) -> list[Item]:
        """The next `count` items for an annotator, leased; fewer, or none, where not so many are left. The first is
        where the annotator comes back to. Raises InputError for an unknown order."""
        name, order = check_name(annotator), queue.check_order(order)
        with self._database.writing(durable=False) as db:
            now = self._clock()
            ids = queue.take(db, name, order, filters, list(passed)[-500:], count, now, now + LEASE)
            if ids:
                db.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (name, ids[0]))
            return [self._item(db, id, name) for id in ids]

    def visit(self, item: int, annotator: str) -> Item:
        """Go to an item: it is leased, and the place to come back to. Raises InputError where it is not there."""
        name = check_name(annotator)
        with self._database.writing(durable=False) as db:
            found = self._item(db, item, name)
            db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (item, name, self._clock() + LEASE))
            db.execute("INSERT OR REPLACE INTO places VALUES (?, ?)", (name, item))
            return found

    def resume(self, annotator: str) -> Item | None:
        """The item that the annotator looked at last; None where that is none, or it was decided and left."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT item FROM places WHERE annotator = ?", (check_name(annotator),)
            ).fetchone()
            return self._item(db, row[0], annotator) if row else None

    def item(self, item: int, annotator: str | None = None) -> Item:
        """One item. Raises InputError where it is not there."""
        with self._database.reading() as db:
            return self._item(db, item, annotator)

    def first_of(self, image: int) -> int | None:
        """The id of an image's first item; None where it has none. Honeypots are passed over."""
        condition, values = queue.where(EVERYTHING)
        query = f"SELECT i.id FROM items i WHERE {condition} AND i.image = ? ORDER BY i.id LIMIT 1"
        with self._database.reading() as db:
            row = db.execute(query, (*values, image)).fetchone()
        return int(row[0]) if row else None

    def siblings(self, item: Item, annotator: str) -> list[Item]:
        """All subjects of the item's image in order, itself among them: of honeypots only itself, and nothing of the
        same phrase beside it, which would give it away."""
        with self._database.reading() as db:
            query = """SELECT * FROM items WHERE image = ? AND status <> 'withdrawn'
                AND (truth IS NULL OR id = ?) ORDER BY id"""
            rows = db.execute(query, (item.picture.id, item.id)).fetchall()
            found = [to_item(db, row, annotator) for row in rows]
        if item.proposal.truth is None:
            return found
        phrase = item.proposal.subject.phrase
        return [other for other in found if other.id == item.id or other.proposal.subject.phrase != phrase]

    # What is decided

    def decide(
        self,
        item: int,
        annotator: str,
        verdict: str,
        subject: Subject | None = None,
        seconds: float = 0.0,
        token: str | None = None,
    ) -> Decision:
        """Record a verdict; it is on the disk when this returns. `subject` is the region of a "fix". A `token` names the
        decision: sent twice, it is recorded once. Where nothing was proposed, "fix" adds a subject, "reject" says that
        there is none, and "accept" keeps what somebody added.

        Raises InputError for an unknown item or verdict, a fix without a valid region, an accept of nothing, and where
        it cannot be saved.
        """
        name = check_name(annotator)
        if verdict not in ("accept", "fix", "reject", "skip"):
            raise InputError(f"There is no verdict {str(verdict)[:20]!r}. Accept, fix, reject or skip.")
        with self._database.writing() as db:
            found = self._item(db, item, name)
            judged = found.mine.subject if found.mine else found.proposal.subject
            if verdict == "fix":
                if subject is None:
                    raise InputError("Nothing was changed: a fix needs a region or another phrase.")
                judged = check_subject(subject, found.picture)
            if found.proposal.is_nothing:
                verdict, judged = _of_nothing(found, verdict, judged)
            elif verdict == "accept" and found.creator == name:
                verdict = "add"  # one's own subject is not confirmed by oneself
            elif verdict == "accept" and found.mine and found.mine.kind == "fix":
                verdict = "fix"  # what is accepted is the region as it was drawn before
            return log.record(
                db, item, name, verdict, judged, _seconds(seconds), self._clock(), _token(token)
            )

    def add_subject(
        self, image: int, annotator: str, subject: Subject, seconds: float = 0.0, token: str | None = None
    ) -> Decision:
        """Record a subject that the annotator found; others may judge it. Raises InputError where the image is not in
        the queue, or the region is not valid."""
        name, token = check_name(annotator), _token(token)
        with self._database.writing() as db:
            row = db.execute("SELECT * FROM images WHERE id = ?", (image,)).fetchone()
            if row is None:
                raise InputError("There is no such image in this queue. Go to the next one.")
            checked = check_subject(subject, to_picture(row))
            id = _insert(db, Proposal(image, checked, "human"), name, self._clock(), token)
            return log.record(db, id, name, "add", checked, _seconds(seconds), self._clock(), token)

    def undo(self, annotator: str, token: str | None = None) -> Decision | None:
        """Take back the annotator's last decision and return it; None where nothing is left."""
        return self._back_or_forth(log.undo, annotator, token)

    def redo(self, annotator: str, token: str | None = None) -> Decision | None:
        """Let what was undone last stand again and return it; None where nothing is left."""
        return self._back_or_forth(log.redo, annotator, token)

    def _back_or_forth(
        self,
        step: Callable[[sqlite3.Connection, str, float, str], Decision | None],
        annotator: str,
        token: str | None,
    ) -> Decision | None:
        name, token = check_name(annotator), _token(token)
        with self._database.writing() as db:
            known = db.execute("SELECT target FROM decisions WHERE token = ?", (token,)).fetchone()
            if known is not None:
                row = db.execute("SELECT * FROM decisions WHERE id = ?", (known[0],)).fetchone()
                return to_decision(row) if row else None
            return step(db, name, self._clock(), token)

    def history(self, item: int) -> list[Decision]:
        """Every row of the log on an item, oldest first."""
        with self._database.reading() as db:
            rows = db.execute("SELECT * FROM decisions WHERE item = ? ORDER BY id", (item,))
            return [to_decision(row) for row in rows]

    # What came of it

    def outcomes(
        self, filters: Filters = EVERYTHING, *, kind: Literal["kept", "all"] = "kept"
    ) -> Iterator[Outcome]:
        """The subjects that the filters let through, in order of image, each with status, source and provenance.

        kind: "kept" leaves out what is not accepted, fixed or added (unless the filters ask for a status); "all" does
        not. The database is read at once, so what is decided meanwhile makes no difference.
        """
        condition, values = queue.where(filters)
        condition += f" AND {queue.SUBJECT}"
        if kind == "kept" and filters.status is None:
            condition += f" AND i.status IN ({','.join('?' * len(KEPT))})"
            values += KEPT
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT i.* FROM items i WHERE {condition} ORDER BY i.image, i.id", values
            ).fetchall()
            for row in rows:
                item = to_item(db, row)
                yield Outcome(item.picture, _outcome(db, item, row["created"]))

    def count(self, filters: Filters = EVERYTHING) -> int:
        """How many items the filters let through."""
        condition, values = queue.where(filters)
        with self._database.reading() as db:
            return int(db.execute(f"SELECT count(*) FROM items i WHERE {condition}", values).fetchone()[0])

    def progress(self) -> Progress:
        """How far everyone is."""
        with self._database.reading() as db:
            condition, _ = queue.where(EVERYTHING)
            counts = dict(
                db.execute(
                    f"SELECT i.status, count(*) FROM items i WHERE {condition} GROUP BY i.status"
                ).fetchall()
            )
            decided = dict(
                db.execute("SELECT annotator, count(*) FROM standing GROUP BY annotator").fetchall()
            )
            return Progress(counts, decided, {name: _pace(db, name) for name in decided}, _honeypots(db))

    def agreement(self) -> tuple[int, float | None, float | None]:
        """The number of subjects with two judges or more; Krippendorff's alpha of keeping and rejecting over them; and the
        mean overlap (IoU) of the regions that were kept."""
        query = f"""SELECT s.item, s.annotator, s.verdict, d.subject FROM standing s JOIN decisions d ON d.id = s.decision
            JOIN items i ON i.id = s.item WHERE i.judges > 1 AND i.truth IS NULL AND {queue.SUBJECT}
            AND s.verdict <> 'skip' ORDER BY s.item, s.annotator"""
        verdicts: dict[int, dict[str, str]] = {}
        regions: dict[int, list[Subject]] = {}
        with self._database.reading() as db:
            for item, annotator, verdict, subject in db.execute(query):
                kept = verdict in KEEPING
                verdicts.setdefault(item, {})[annotator] = "keep" if kept else "reject"
                if kept:
                    regions.setdefault(item, []).append(to_subject(subject))
            shared = {item: subjects for item, subjects in regions.items() if len(subjects) > 1}
            pictures = _pictures(db, shared)
        overlap = agreement.mean_pairwise_iou((pictures[item], subjects) for item, subjects in shared.items())
        return len(verdicts), agreement.krippendorff_alpha(verdicts.values()), overlap

    def _item(self, db: sqlite3.Connection, id: int, annotator: str | None) -> Item:
        row = db.execute("SELECT * FROM items WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise InputError("There is no such subject in this queue. Go to the next one.")
        return to_item(db, row, annotator)


def _insert(
    db: sqlite3.Connection, proposal: Proposal, creator: str | None, at: float, token: str = ""
) -> int:
    """The id of a proposal's item, made where there is none; its scores are renewed either way."""
    subject, scores = proposal.subject, proposal.scores
    truth = json.dumps(proposal.truth.to_json()) if proposal.truth else None
    region = json.dumps([subject.bbox, dict(subject.segmentation or {})])
    whole = f"{proposal.image}\n{subject.phrase}\n{region}\n{proposal.source}\n{truth is not None}\n{creator}\n{token}"
    identity = hashlib.sha256(whole.encode()).hexdigest()
    columns = "image, identity, subject, phrase, source, fingerprint, creator, created, shuffled, truth"
    values = (
        proposal.image,
        identity,
        subject_text(subject),
        subject.phrase,
        proposal.source,
        proposal.fingerprint,
        creator,
        at,
        int(identity[:12], 16),
        truth,
    )
    numbers = (scores.uncertainty, scores.misalignment, scores.disagreement, scores.margin)
    query = f"""INSERT INTO items ({columns}, uncertainty, misalignment, disagreement, margin)
        VALUES ({", ".join("?" * 14)}) ON CONFLICT (identity) DO UPDATE SET uncertainty = excluded.uncertainty,
        misalignment = excluded.misalignment, disagreement = excluded.disagreement, margin = excluded.margin
        RETURNING id"""
    return int(db.execute(query, (*values, *numbers)).fetchone()[0])


def _of_nothing(found: Item, verdict: str, judged: Subject) -> tuple[str, Subject]:
    """Verdict and region as they are recorded where nothing was proposed. Raises InputError where there is nothing to
    accept."""
    if verdict == "accept" and judged.bbox is None:
        judged = found.result  # what somebody else added
    if verdict == "accept" and judged.bbox is None:
        raise InputError(
            "Nothing was proposed here, so nothing can be accepted. Draw a subject, reject, or skip."
        )
    own = found.mine is not None and found.mine.kind == "add"
    return ("add" if verdict == "fix" or (verdict == "accept" and own) else verdict), judged


def _outcome(db: sqlite3.Connection, item: Item, created: float) -> Subject:
    """The item's result with where it comes from: who or which model proposed it, and every decision after that."""
    proposal = item.proposal
    steps: list[dict[str, Any]] = []
    if item.creator is None and not proposal.is_nothing:
        steps.append({"by": proposal.source, "model": proposal.fingerprint, "at": _iso(created)})
    for row in db.execute("SELECT * FROM decisions WHERE item = ? ORDER BY id", (item.id,)):
        decision = to_decision(row)
        seconds = round(decision.seconds, 1)
        did = {"by": "human", "annotator": decision.annotator, "did": decision.kind}
        steps.append(did | {"at": _iso(decision.at), "seconds": seconds})
    drawn = item.status in ("fixed", "added") or proposal.is_nothing
    return replace(
        item.result,
        status=item.status,
        source="human" if drawn else proposal.source,
        extra=dict(item.result.extra) | {"provenance": steps},
    )


def _pace(db: sqlite3.Connection, annotator: str) -> float:
    """The median seconds of the annotator's last verdicts."""
    query = """SELECT seconds FROM decisions WHERE annotator = ? AND kind NOT IN ('undo', 'redo')
        ORDER BY id DESC LIMIT ?"""
    seconds = sorted(row[0] for row in db.execute(query, (annotator, PACE_OF)))
    return float(seconds[len(seconds) // 2]) if seconds else 0.0


def _honeypots(db: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    query = """SELECT s.annotator, s.item, s.verdict, d.subject, i.truth FROM standing s
        JOIN decisions d ON d.id = s.decision JOIN items i ON i.id = s.item
        WHERE i.truth IS NOT NULL AND s.verdict <> 'skip'"""
    rows = db.execute(query).fetchall()
    pictures = _pictures(db, {row["item"] for row in rows})
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        right, seen = found.get(row["annotator"], (0, 0))
        truth = to_truth(row["truth"])
        assert truth is not None
        hit = agreement.is_right(row["verdict"], to_subject(row["subject"]), truth, pictures[row["item"]])
        found[row["annotator"]] = right + hit, seen + 1
    return found


def _pictures(db: sqlite3.Connection, items: Iterable[int]) -> dict[int, Picture]:
    query = """SELECT i.id AS item, p.* FROM items i JOIN images p ON p.id = i.image
        WHERE i.id IN (SELECT value FROM json_each(?))"""
    return {row["item"]: to_picture(row) for row in db.execute(query, (json.dumps(list(items)),))}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _seconds(value: float) -> float:
    return min(max(0.0, float(value)), LONGEST) if value == value else 0.0


def _token(value: str | None) -> str:
    if value is not None and not (isinstance(value, str) and 8 <= len(value) <= 64):
        raise InputError("The decision has no valid name. Reload the page and decide again.")
    return value or uuid.uuid4().hex
