"""The log of decisions: every one is a row, and so are undo and redo. What stands follows from the log.

Functions over an open transaction. An annotator's decisions form a stack: `previous` is what was on top before. Undo
takes the top off, redo puts back what was undone since the last new decision.
"""

from __future__ import annotations

import sqlite3

from ssa_me.annotation.database import subject_text, to_decision
from ssa_me.annotation.records import KEEPING, Decision
from ssa_me.samples import Subject

WITHDRAWN = "withdrawn"
"""The status of a subject that an annotator added and took back: it is in no queue and in no export."""


def record(
    db: sqlite3.Connection,
    item: int,
    annotator: str,
    verdict: str,
    subject: Subject,
    seconds: float,
    at: float,
    token: str,
) -> Decision:
    """Append a decision and let it stand; its lease ends. A `token` that is known already gives the decision that it made."""
    known = db.execute("SELECT * FROM decisions WHERE token = ?", (token,)).fetchone()
    if known is not None:
        return to_decision(known)
    before = _standing(db, item, annotator)
    row = (
        item,
        annotator,
        verdict,
        subject_text(subject),
        seconds,
        at,
        before,
        top(db, annotator),
        None,
        token,
    )
    made = _append(db, row)
    _let_stand(db, made)
    db.execute("DELETE FROM leases WHERE item = ? AND annotator = ?", (item, annotator))
    return made


def undo(db: sqlite3.Connection, annotator: str, at: float, token: str) -> Decision | None:
    """Take back the annotator's last decision; the one before it on that item stands again. None: there is none."""
    last = top(db, annotator)
    if last is None:
        return None
    target = _decision(db, last)
    _append(db, _mirror(target, "undo", at, token))
    if target.parent is None:
        db.execute("DELETE FROM standing WHERE item = ? AND annotator = ?", (target.item, annotator))
        settle(db, target.item)
    else:
        _let_stand(db, _decision(db, target.parent))
    return target


def redo(db: sqlite3.Connection, annotator: str, at: float, token: str) -> Decision | None:
    """Let the decision that was undone last stand again. None where nothing was undone since the last new one."""
    query = """SELECT u.target FROM decisions u JOIN decisions t ON t.id = u.target
        WHERE u.annotator = ?1 AND u.kind = 'undo' AND t.previous IS ?2 AND u.id > coalesce((SELECT max(id) FROM decisions
        WHERE annotator = ?1 AND kind NOT IN ('undo', 'redo')), 0) ORDER BY u.id DESC LIMIT 1"""
    row = db.execute(query, (annotator, top(db, annotator))).fetchone()
    if row is None:
        return None
    target = _decision(db, row[0])
    _append(db, _mirror(target, "redo", at, token))
    _let_stand(db, target)
    return target


def top(db: sqlite3.Connection, annotator: str) -> int | None:
    """The decision that undo would take back; None where nothing is left."""
    query = "SELECT id, kind, target FROM decisions WHERE annotator = ? ORDER BY id DESC LIMIT 1"
    row = db.execute(query, (annotator,)).fetchone()
    if row is None or row["kind"] not in ("undo", "redo"):
        return None if row is None else int(row["id"])
    if row["kind"] == "redo":
        return int(row["target"])
    previous = db.execute("SELECT previous FROM decisions WHERE id = ?", (row["target"],)).fetchone()[0]
    return None if previous is None else int(previous)


def settle(db: sqlite3.Connection, item: int) -> None:
    """Derive an item's status, result and number of judges from what stands: the majority keeps or rejects; of those
    who keep, the latest who drew the region decides where it is."""
    query = """SELECT s.verdict, d.subject FROM standing s JOIN decisions d ON d.id = s.decision
        WHERE s.item = ? ORDER BY d.id"""
    rows = db.execute(query, (item,)).fetchall()
    keeping = [row for row in rows if row["verdict"] in KEEPING]
    rejecting = sum(row["verdict"] == "reject" for row in rows)
    drawn = [row for row in keeping if row["verdict"] != "accept"]
    result = (drawn or keeping)[-1]["subject"] if keeping else None
    creator = db.execute("SELECT creator FROM items WHERE id = ?", (item,)).fetchone()[0]
    if not rows:
        status = "pending" if creator is None else WITHDRAWN
    elif not keeping and not rejecting:
        status = "skipped"
    elif len(keeping) == rejecting:
        status = "disputed"
    elif rejecting > len(keeping):
        status = "rejected"
    elif drawn:
        status = "fixed" if drawn[-1]["verdict"] == "fix" and creator is None else "added"
    else:
        status = "accepted"
    judges = len(keeping) + rejecting
    change = "UPDATE items SET status = ?, judges = ?, result = ? WHERE id = ?"
    db.execute(change, (status, judges, result, item))


def _append(db: sqlite3.Connection, row: tuple[object, ...]) -> Decision:
    columns = "item, annotator, kind, subject, seconds, at, parent, previous, target, token"
    cursor = db.execute(f"INSERT INTO decisions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return _decision(db, int(cursor.lastrowid or 0))


def _mirror(target: Decision, kind: str, at: float, token: str) -> tuple[object, ...]:
    subject = subject_text(target.subject)
    return (target.item, target.annotator, kind, subject, 0.0, at, target.parent, None, target.id, token)


def _let_stand(db: sqlite3.Connection, decision: Decision) -> None:
    row = (decision.item, decision.annotator, decision.id, decision.kind)
    db.execute("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?)", row)
    settle(db, decision.item)


def _standing(db: sqlite3.Connection, item: int, annotator: str) -> int | None:
    query = "SELECT decision FROM standing WHERE item = ? AND annotator = ?"
    row = db.execute(query, (item, annotator)).fetchone()
    return None if row is None else int(row[0])


def _decision(db: sqlite3.Connection, id: int) -> Decision:
    return to_decision(db.execute("SELECT * FROM decisions WHERE id = ?", (id,)).fetchone())
