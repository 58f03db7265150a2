"""Which item an annotator gets next: the order, the filters, leases, and now and then a honeypot.

Functions over an open transaction. A lease keeps an item from other annotators until it expires, unless more judges are
wanted for it; it never keeps anyone's decision out.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence

from ssa_me.annotation.log import WITHDRAWN
from ssa_me.annotation.records import EVERYTHING, ORDERS, Filters
from ssa_me.errors import InputError

HONEYPOT_EVERY = 12
"""One in so many items is a honeypot, as long as there are some that the annotator has not seen."""

_BY = {
    "uncertainty": "i.uncertainty DESC, i.shuffled, i.id",
    "misalignment": "i.misalignment DESC, i.shuffled, i.id",
    "disagreement": "i.disagreement DESC, i.shuffled, i.id",
    "random": "i.shuffled, i.id",
    "images": "i.image, i.id",
}


def check_order(order: object) -> str:
    """`order` as one of `ORDERS`; InputError otherwise."""
    if order not in ORDERS:
        raise InputError(f"The order is {str(order)[:20]!r}. Choose one of {', '.join(ORDERS)}.")
    return str(order)


SUBJECT = "(i.source <> 'none' OR i.result IS NOT NULL)"
"""The condition on `items i` that there is a subject: something was proposed, or somebody added what was not."""
_ALONE = f"""NOT EXISTS (SELECT 1 FROM items o WHERE o.image = i.image AND o.id <> i.id AND o.truth IS NULL
    AND o.status <> '{WITHDRAWN}')"""


def where(filters: Filters) -> tuple[str, list[object]]:
    """The filters as a condition on `items i`, and its values. Honeypots and what was taken back never count, nor that
    nothing was found in an image which has subjects by now."""
    terms = ["i.truth IS NULL", f"i.status <> '{WITHDRAWN}'", f"({SUBJECT} OR {_ALONE})"]
    values = list[object]()
    if filters.phrase.strip():
        escaped = filters.phrase.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        terms.append("i.phrase LIKE ? ESCAPE '\\'")
        values.append(f"%{escaped}%")
    if filters.source:
        terms.append("i.source = ?")
        values.append(filters.source)
    if filters.status:
        terms.append("i.status = ?")
        values.append(filters.status)
    if filters.annotator:
        terms.append("EXISTS (SELECT 1 FROM standing f WHERE f.item = i.id AND f.annotator = ?)")
        values.append(filters.annotator)
    return " AND ".join(terms), values


def take(
    db: sqlite3.Connection,
    annotator: str,
    order: str,
    filters: Filters,
    passed: Sequence[int],
    count: int,
    now: float,
    until: float,
) -> list[int]:
    """The ids of the next `count` items, leased to the annotator until then; leases of theirs that they do not need any
    more are given back. `passed`: items that are not wanted now."""
    db.execute("DELETE FROM leases WHERE until <= ? OR annotator = ?", (now, annotator))
    regular = _regular(db, annotator, order, filters, passed, count)
    chosen = _with_honeypots(db, annotator, regular, passed)[:count] if filters == EVERYTHING else regular
    db.executemany(
        "INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", [(id, annotator, until) for id in chosen]
    )
    return chosen


def _regular(
    db: sqlite3.Connection, annotator: str, order: str, filters: Filters, passed: Sequence[int], count: int
) -> list[int]:
    """Items that want a judge: not judged by this annotator, and not by or with others as often as is wanted. A filter
    by status or annotator is a review: then what others judged comes too, but for what one of them is at; by status only
    once so many have judged it, for it would say what the others decided."""
    condition, values = where(filters)
    others = "(SELECT count(*) FROM leases l WHERE l.item = i.id AND l.annotator <> ?)"
    free = f"i.judges < {wanted(db)} AND i.judges + {others} < {wanted(db)}"
    if filters.reviews:
        blind = filters.status not in (None, "pending", "skipped")
        free = f"{others} = 0" + (f" AND i.judges >= {wanted(db)}" if blind else "")
    marks = ",".join("?" * len(passed))
    query = f"""SELECT i.id FROM items i WHERE {condition} AND {free} AND i.id NOT IN ({marks})
        AND NOT EXISTS (SELECT 1 FROM standing s WHERE s.item = i.id AND s.annotator = ?)
        ORDER BY {_BY[order]} LIMIT ?"""
    rows = db.execute(query, (*values, annotator, *passed, annotator, count))
    return [int(row[0]) for row in rows]


def _with_honeypots(
    db: sqlite3.Connection, annotator: str, regular: list[int], passed: Sequence[int]
) -> list[int]:
    """`regular` with a honeypot where one is due; which of an annotator's items it is hangs on the name, so that nobody
    can count along. Without a regular item there is none either."""
    if not regular:
        return regular
    seen = db.execute("SELECT count(*) FROM standing WHERE annotator = ?", (annotator,)).fetchone()[0]
    phase = zlib.crc32(annotator.encode()) % HONEYPOT_EVERY
    due = next((n for n in range(len(regular)) if (seen + n) % HONEYPOT_EVERY == phase), None)
    if due is None:
        return regular
    query = """SELECT id FROM items i WHERE truth IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM standing s WHERE s.item = i.id AND s.annotator = ?) ORDER BY shuffled, id"""
    honeypots = [row[0] for row in db.execute(query, (annotator,)) if row[0] not in passed]
    return [*regular[:due], *honeypots[:1], *regular[due:]]


def wanted(db: sqlite3.Connection) -> int:
    """How many annotators shall judge each item; 1 unless agreement is wanted."""
    row = db.execute("SELECT value FROM settings WHERE key = 'judges'").fetchone()
    return int(row[0]) if row else 1
