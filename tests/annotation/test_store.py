import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from ssa_me.annotation import AnnotationStore, Filters, Proposal, Truth
from ssa_me.annotation.database import Database
from ssa_me.annotation.queue import HONEYPOT_EVERY
from ssa_me.annotation.store import LEASE
from ssa_me.errors import InputError
from ssa_me.samples import Subject
from tests.annotation.conftest import PICTURES, Clock, proposal

MOVED = Subject("a tall house", (20.0, 5.0, 15.0, 20.0))
MOVED_DOG = Subject("a dog", (2.0, 5.0, 15.0, 10.0))
NOTHING = Proposal(2, Subject(""), "none", "f" * 12)


def ids(store: AnnotationStore, *args: object, **options: object) -> list[int]:
    return [item.id for item in store.next(*args, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("uncertainty", [2, 4, 3, 1]),
        ("misalignment", [1, 3, 4, 2]),
        ("disagreement", [3, 4, 2, 1]),
        ("images", [1, 2, 3, 4]),
    ],
)
def test_the_queue_begins_where_the_order_says(
    store: AnnotationStore, order: str, expected: list[int]
) -> None:
    assert ids(store, "Ann", order, count=9) == expected


def test_a_random_order_is_the_same_each_time_and_not_that_of_the_images(store: AnnotationStore) -> None:
    store.add(PICTURES, [proposal(2, f"thing {n}") for n in range(20)])
    first = ids(store, "Ann", "random", count=50)
    assert first == ids(store, "Ann", "random", count=50)
    assert sorted(first) == list(range(1, 25)) != first


def test_adding_again_changes_nothing_but_scores(store: AnnotationStore) -> None:
    store.decide(1, "Ann", "reject")
    assert store.add(PICTURES, [proposal(1, "a person in red", 0.6)]) == 0
    assert store.item(1).status == "rejected"
    assert store.item(1).proposal.scores.uncertainty == 0.6


def test_two_annotators_do_not_get_the_same_item_until_a_lease_expires(
    store: AnnotationStore, clock: Clock
) -> None:
    assert ids(store, "Ann", count=2) == [2, 4]
    assert ids(store, "Bob", count=2) == [3, 1]
    assert ids(store, "Cy") == []
    assert ids(store, "Ann") == [2], "one's own lease is no obstacle"
    assert ids(store, "Cy") == [4], "what Ann gave back is free"
    clock.now += LEASE + 1
    assert ids(store, "Dee", count=9) == [2, 4, 3, 1]


def test_with_agreement_wanted_each_item_is_judged_twice_but_not_by_the_same(store: AnnotationStore) -> None:
    store.want_judges(2)
    for name in ("Ann", "Bob"):
        for item in ids(store, name, count=9):
            store.decide(item, name, "accept")
    assert ids(store, "Ann") == ids(store, "Cy") == []
    assert store.agreement() == (4, None, 1.0)
    store.decide(1, "Bob", "reject")
    judged, alpha, overlap = store.agreement()
    assert (judged, overlap) == (4, 1.0)
    assert alpha == pytest.approx(1 - 7 * 2 / 14)  # 7 keep, 1 reject: observed 2, expected (64 - 49 - 1) / 7
    with pytest.raises(InputError, match="1 to 5"):
        store.want_judges(0)


def test_every_verdict_gives_its_status(store: AnnotationStore) -> None:
    store.decide(1, "Ann", "accept")
    store.decide(2, "Ann", "fix", MOVED)
    store.decide(3, "Ann", "reject")
    store.decide(4, "Ann", "skip")
    assert [store.item(n).status for n in (1, 2, 3, 4)] == ["accepted", "fixed", "rejected", "skipped"]
    assert store.item(2).result == MOVED
    assert ids(store, "Ann") == [], "what one skipped does not come back"
    assert ids(store, "Bob") == [4], "others may judge it"
    progress = store.progress()
    assert (progress.total, progress.done, progress.decided) == (4, 3, {"Ann": 4})


def test_a_majority_decides_and_nobody_is_overwritten(store: AnnotationStore) -> None:
    store.decide(2, "Ann", "fix", MOVED)
    store.decide(2, "Bob", "reject")
    assert store.item(2).status == "disputed"
    store.decide(2, "Cy", "accept")
    item = store.item(2, "Ann")
    assert (item.status, item.result, item.judges) == ("fixed", MOVED, 3)
    assert item.mine is not None
    assert item.mine.subject == MOVED
    assert [d.annotator for d in store.history(2)] == ["Ann", "Bob", "Cy"]


def test_undo_and_redo_of_everything_are_rows(store: AnnotationStore) -> None:
    store.decide(2, "Ann", "accept")
    store.decide(2, "Ann", "fix", MOVED)
    store.decide(3, "Ann", "reject")
    added = store.add_subject(2, "Ann", Subject("a ball", (1.0, 1.0, 5.0, 5.0)))
    assert [store.undo("Ann").item for _ in range(3)] == [added.item, 3, 2]  # type: ignore[union-attr]
    assert [store.item(n).status for n in (2, 3)] == ["accepted", "pending"]
    assert store.count() == 4, "a subject that was taken back is in no queue"
    assert [store.redo("Ann").item for _ in range(2)] == [2, 3]  # type: ignore[union-attr]
    assert [store.item(n).status for n in (2, 3)] == ["fixed", "rejected"]
    assert store.redo("Ann").item == added.item  # type: ignore[union-attr]
    assert store.item(added.item).status == "added"
    assert store.redo("Ann") is None
    assert [d.kind for d in store.history(2)] == ["accept", "fix", "undo", "redo"]


def test_undo_ends_at_the_start_and_a_new_decision_ends_redo(store: AnnotationStore) -> None:
    assert store.undo("Ann") is None
    store.decide(1, "Ann", "accept")
    store.decide(2, "Bob", "accept")
    assert store.undo("Ann").item == 1  # type: ignore[union-attr]
    assert store.undo("Ann") is None, "Bob's decision is not Ann's to undo"
    store.decide(3, "Ann", "reject")
    assert store.redo("Ann") is None
    assert store.undo("Ann").item == 3  # type: ignore[union-attr]
    assert store.undo("Ann") is None
    assert store.redo("Ann").item == 3  # type: ignore[union-attr]
    assert store.item(2).status == "accepted"


def test_what_is_sent_twice_is_recorded_once(store: AnnotationStore) -> None:
    for _ in range(2):
        store.decide(1, "Ann", "accept", token="decision-1")
        store.add_subject(2, "Ann", Subject("a ball", (1.0, 1.0, 5.0, 5.0)), token="decision-2")
    assert store.progress().decided == {"Ann": 2}
    for _ in range(2):
        undone = store.undo("Ann", token="an-undo-1")
    assert undone is not None
    assert store.item(1).status == "accepted"


def test_accepting_what_one_drew_keeps_it_as_drawn(store: AnnotationStore) -> None:
    store.decide(2, "Ann", "fix", MOVED)
    store.decide(2, "Ann", "accept")
    assert (store.item(2).status, store.item(2).result) == ("fixed", MOVED)
    added = store.add_subject(1, "Ann", MOVED)
    store.decide(added.item, "Ann", "accept")
    assert store.item(added.item).status == "added"


def test_a_crash_returns_to_the_same_item(store: AnnotationStore, clock: Clock, tmp_path: Path) -> None:
    assert store.resume("Ann") is None
    (first,) = store.next("Ann")
    again = AnnotationStore.open(tmp_path / "annotations.sqlite", clock)
    assert again.resume("Ann") == first
    again.visit(3, "Ann")
    assert store.resume("Ann").id == 3  # type: ignore[union-attr]


def test_filters_choose_in_the_queue_and_a_status_is_a_review(store: AnnotationStore) -> None:
    assert ids(store, "Ann", filters=Filters(phrase="IN RED"), count=9) == [1]
    assert ids(store, "Ann", filters=Filters(phrase="%"), count=9) == []
    assert ids(store, "Ann", filters=Filters(source="data"), count=9) == []
    store.decide(3, "Ann", "reject")
    assert ids(store, "Bob", filters=Filters(status="rejected"), count=9) == [3]
    assert ids(store, "Ann", filters=Filters(status="rejected"), count=9) == []
    assert ids(store, "Bob", filters=Filters(annotator="Ann"), count=9) == [3]
    with pytest.raises(InputError, match="status"):
        Filters(status="lost")


def test_a_review_by_status_waits_until_so_many_have_judged(store: AnnotationStore) -> None:
    store.want_judges(2)
    store.decide(3, "Ann", "reject")
    assert ids(store, "Bob", filters=Filters(status="rejected"), count=9) == [], "it would say what Ann did"
    assert ids(store, "Bob", filters=Filters(annotator="Ann"), count=9) == [3]
    store.decide(3, "Bob", "reject")
    assert ids(store, "Cy", filters=Filters(status="rejected"), count=9) == [3]


@pytest.fixture
def bare(make_store: Callable[..., AnnotationStore]) -> AnnotationStore:
    """A subject of the first image (1), nothing in the second (2)."""
    return make_store(proposal(1, "a house"), NOTHING)


def test_where_nothing_was_found_a_subject_can_be_added(bare: AnnotationStore) -> None:
    assert ids(bare, "Ann", "images", count=9) == [1, 2]
    assert ids(bare, "Ann", filters=Filters(source="none"), count=9) == [2]
    bare.decide(2, "Ann", "fix", MOVED_DOG)
    item = bare.item(2, "Ann")
    assert (item.status, item.result) == ("added", MOVED_DOG)
    bare.decide(2, "Ann", "accept")
    assert bare.item(2).status == "added", "one's own subject is not confirmed by oneself"
    bare.decide(2, "Bob", "accept")
    assert bare.item(2, "Bob").mine.subject == MOVED_DOG  # type: ignore[union-attr]
    (outcome,) = bare.outcomes()
    assert (outcome.subject.phrase, outcome.subject.status, outcome.subject.source) == (
        "a dog", "added", "human",
    )  # fmt: skip
    assert [step["by"] for step in outcome.subject.extra["provenance"]] == ["human"] * 3
    for name in ("Bob", "Ann", "Ann"):
        bare.undo(name)
    assert bare.item(2).status == "pending"
    assert bare.item(2).result.bbox is None


def test_that_nothing_is_there_is_work_done_and_no_result(bare: AnnotationStore) -> None:
    with pytest.raises(InputError, match="nothing can be accepted"):
        bare.decide(2, "Ann", "accept")
    assert bare.history(2) == []
    bare.want_judges(2)
    bare.decide(2, "Ann", "reject")
    bare.decide(2, "Bob", "reject")
    assert (bare.progress().total, bare.progress().done) == (2, 1)
    for filters in (Filters(), Filters(source="none"), Filters(status="rejected")):
        assert list(bare.outcomes(filters)) == []
    assert [o.subject.phrase for o in bare.outcomes(kind="all")] == ["a house"]
    assert bare.agreement() == (0, None, None)
    assert bare.progress().honeypots == {}
    bare.decide(2, "Bob", "fix", MOVED_DOG)
    assert bare.item(2).status == "disputed"
    assert bare.agreement()[0] == 1, "of a subject that was added it is known how far they agree"
    assert list(bare.outcomes()) == []


def test_that_nothing_was_found_no_longer_counts_once_there_are_subjects(bare: AnnotationStore) -> None:
    assert bare.add(PICTURES, [NOTHING]) == 0
    bare.add(PICTURES, [proposal(2, "a dog")])
    assert ids(bare, "Ann", "images", count=9) == [1, 3]
    assert (bare.count(), bare.first_of(2)) == (2, 3)
    added = bare.add_subject(2, "Ann", MOVED_DOG)
    assert [item.id for item in bare.siblings(bare.item(3), "Ann")] == [2, 3, added.item]


def test_the_first_item_of_an_image_is_never_a_honeypot(make_store: Callable[..., AnnotationStore]) -> None:
    pot = Proposal(2, Subject("a cat", (2.0, 3.0, 10.0, 12.0)), "data", truth=Truth(True, Subject("a cat")))
    store = make_store(pot, proposal(1, "a house"), proposal(1, "a tree"))
    assert [store.first_of(image) for image in (1, 2, 3)] == [2, None, None]
    store.add(PICTURES, [NOTHING])
    nothing = store.first_of(2)
    assert nothing is not None
    assert store.item(nothing).proposal == NOTHING, "a honeypot does not make up for a subject"
    added = store.add_subject(1, "Ann", MOVED)
    store.undo("Ann")
    assert store.first_of(1) == 2 < added.item


def test_honeypots_come_now_and_then_and_count_for_nobody_but_the_annotator(
    make_store: Callable[..., AnnotationStore],
) -> None:
    true = Subject("a cat", (2.0, 3.0, 10.0, 12.0))
    pots = [
        Proposal(1, true, "data", truth=Truth(True, true)),
        Proposal(2, Subject("a cat", (0.0, 0.0, 4.0, 4.0)), "data", truth=Truth(False, true)),
    ]
    store = make_store(*(proposal(1, f"thing {n}") for n in range(30)), *pots)
    seen = []
    while found := store.next("Ann"):
        (item,) = found
        if item.proposal.truth is not None:
            seen.append(len(store.history(item.id)))
        store.decide(item.id, "Ann", "accept")
    assert len(seen) == 30 // HONEYPOT_EVERY
    progress = store.progress()
    assert progress.honeypots == {"Ann": (1, 2)}
    assert (progress.total, progress.done) == (30, 30)
    assert len(list(store.outcomes())) == 30


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (Subject(" ", (1.0, 1.0, 5.0, 5.0)), "no phrase"),
        (Subject("x" * 300, (1.0, 1.0, 5.0, 5.0)), "300 letters"),
        (Subject("x"), "no region"),
        (Subject("x", (100.0, 1.0, 5.0, 5.0)), "outside"),
        (Subject("x", (float("nan"), 1.0, 5.0, 5.0)), "no box"),
        (Subject("x", None, {"size": [30, 40], "counts": [1200]}), "empty"),
        (Subject("x", None, {"size": [30, 40], "counts": [7]}), "not COCO's RLE"),
        (Subject("x", None, {"size": [10**6, 10**6], "counts": "00"}), "not COCO's RLE"),
    ],
)
def test_a_fix_that_is_none_is_refused_and_nothing_changes(
    store: AnnotationStore, subject: Subject, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        store.decide(1, "Ann", "fix", subject)
    assert store.item(1).status == "pending"
    assert store.history(1) == []


def test_a_box_is_cut_at_the_image_and_a_mask_brings_its_box(store: AnnotationStore, mask: Subject) -> None:
    store.decide(1, "Ann", "fix", Subject("x", (-5.0, -5.0, 15.0, 15.0)))
    assert store.item(1).result.bbox == (0.0, 0.0, 10.0, 10.0)
    store.decide(4, "Ann", "fix", mask)
    assert store.item(4).result.bbox == (4.0, 4.0, 13.0, 13.0)


def test_what_is_not_there_is_said(store: AnnotationStore) -> None:
    for broken in (
        lambda: store.decide(99, "Ann", "accept"),
        lambda: store.decide(1, "Ann", "burn"),
        lambda: store.decide(1, " ", "accept"),
        lambda: store.decide(1, "Ann", "fix"),
        lambda: store.add_subject(99, "Ann", MOVED),
        lambda: store.visit(99, "Ann"),
        lambda: store.next("Ann", "alphabet"),
        lambda: store.decide(1, "Ann", "accept", token="1"),
    ):
        with pytest.raises(InputError):
            broken()


class Full(Database):
    """A database on a disk that has no page left."""

    def connect(self) -> sqlite3.Connection:
        db = super().connect()
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        return db


class ReadOnly(Database):
    """A database in a folder that may not be written to."""

    def connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db


@pytest.mark.parametrize(("kind", "said"), [(Full, "disk is full"), (ReadOnly, "cannot be written")])
def test_a_full_disk_and_a_read_only_folder_lose_nothing(
    store: AnnotationStore, tmp_path: Path, kind: type[Database], said: str
) -> None:
    store.decide(1, "Ann", "accept")
    path = tmp_path / "annotations.sqlite"
    hindered = AnnotationStore(kind(path))

    def fix_without_end() -> None:
        while True:
            hindered.decide(2, "Ann", "fix", Subject("x" * 150, (1.0, 1.0, 5.0, 5.0)))

    with pytest.raises(InputError, match=said):
        fix_without_end()
    assert hindered.item(1).status == "accepted", "it can be read"
    rows = store.history(2)
    assert len({row.id for row in rows}) == len(rows)
    standing = store.item(2, "Ann").mine
    assert (standing.id if standing else None) == (rows[-1].id if rows else None), (
        "all of a decision, or none"
    )
    store.decide(2, "Ann", "reject")
    assert store.item(2).status == "rejected"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        AnnotationStore.open(tmp_path / "nowhere" / "a.sqlite")
    (tmp_path / "b.sqlite").write_bytes(b"no database at all, but a text of some length" * 50)
    with pytest.raises(InputError, match="damaged"):
        AnnotationStore.open(tmp_path / "b.sqlite")


def work(store: AnnotationStore, name: str) -> list[int]:
    """Judge whatever comes until nothing does; the items, in order."""
    done = []
    while found := store.next(name, "random"):
        store.decide(found[0].id, name, "accept", seconds=1.0)
        done.append(found[0].id)
    return done


def test_twenty_annotators_at_once_lose_nothing_and_double_nothing(
    make_store: Callable[..., AnnotationStore],
) -> None:
    store = make_store(*(proposal(1, f"thing {n}") for n in range(100)))
    start = threading.Barrier(20)

    def annotate(number: int) -> list[int]:
        start.wait()
        return work(store, f"annotator {number}")

    with ThreadPoolExecutor(20) as pool:
        done = [item for items in pool.map(annotate, range(20)) for item in items]
    assert sorted(done) == list(range(1, 101))
    assert store.progress().counts == {"accepted": 100}
    assert sum(store.progress().decided.values()) == 100
    assert Counter(len(store.history(item)) for item in done) == {1: 100}


def _in_a_process(path: str, name: str) -> list[int]:
    return work(AnnotationStore.open(Path(path)), name)


def test_processes_share_one_file(make_store: Callable[..., AnnotationStore], tmp_path: Path) -> None:
    store = make_store(*(proposal(1, f"thing {n}") for n in range(40)))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        path = str(tmp_path / "annotations.sqlite")
        done = list(pool.map(_in_a_process, [path] * 2, ["Ann", "Bob"]))
    assert sorted(item for items in done for item in items) == list(range(1, 41))
    assert store.progress().counts == {"accepted": 40}
