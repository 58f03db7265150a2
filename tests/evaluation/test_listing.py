import pytest

from ssa_me.evaluation.evaluate import evaluate
from ssa_me.evaluation.listing import ListScore, same_words, score_lists, subject_lists
from ssa_me.evaluation.models import parse_models
from ssa_me.salience.lmm import Listed
from ssa_me.samples import Record, Subject, write_metadata


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("a person in red", "person in red"),
        ("The Woman in red.", "person in red"),
        ("a child", "person"),
        ("an orange cat", "orange cat"),
        ("a mandarin", "mandarin"),
    ],
)
def test_phrases_are_compared_without_case_articles_and_kinds_of_person(phrase, words):
    assert same_words(phrase) == words


def test_lists_by_hand():
    pairs = [
        (("a man in red", "a blue dog"), ("a blue dog", "a person in red")),  # right and whole
        (
            ("a red house", "a red house", "a tree"),
            ("the red house", "a green car"),
        ),  # one of two, one of two
        ((), ("a bird",)),
    ]
    assert score_lists(pairs) == ListScore(images=3, precision=3 / 4, recall=3 / 5, exact=1 / 3)
    assert score_lists([((), ("a bird",))]) == ListScore(images=1, precision=None, recall=0.0, exact=0.0)
    assert score_lists([]) is None


def listing(embedder, answers):
    """The stand-in with a language model that gives these answers, image by image."""
    embedder.subjects = lambda samples: [answers.pop(0) for _ in samples]
    return embedder


def test_the_rule_is_not_the_models_answer(embedder, paint, tmp_path):
    records = [
        Record(paint(tmp_path / name, "red"), name, subjects=(Subject("a red thing"),))
        for name in ("a.png", "b.png")
    ]
    said = [Listed(("red thing",), "lmm"), Listed(("red thing",), "rule")]
    found = subject_lists(records, listing(embedder, said))
    assert found == ListScore(images=2, precision=1.0, recall=0.5, exact=0.5)


def test_only_images_with_true_subjects_are_asked(embedder, paint, tmp_path):
    proposed = Subject("a dog", bbox=(0, 0, 9, 9), status="proposed")
    records = [Record(paint(tmp_path / "a.png", "red"), "a.png", ("red",), (proposed,))]
    assert subject_lists(records, listing(embedder, [])) is None


def test_evaluate_says_it_where_it_is_asked(embedder, paint, tmp_path):
    thing = Subject("a red thing", bbox=(0, 0, 16, 32))
    write_metadata(tmp_path, [Record(paint(tmp_path / "a.png", "red"), "a.png", ("red",), (thing,))])
    models = parse_models("ssa-me")
    assert "subjects" not in evaluate(tmp_path, embedder, models)
    answering = listing(embedder, [Listed(("a red thing", "a dog"), "lmm")])
    found = evaluate(tmp_path, answering, models, listing=True)
    assert found["subjects"] == {"images": 1, "precision": 0.5, "recall": 1.0, "exact": 0.0}
