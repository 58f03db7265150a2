"""The generated world in Spanish and Chinese: words, agreement, and scenes told again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.scenes import (
    COLOURS,
    KINDS,
    LANGUAGES,
    RELATIONS,
    SETTINGS,
    Language,
    Mention,
    Query,
    Scene,
    describe_in,
    make_scene,
    phrase_in,
    write_scenes,
)
from ssa_me.scenes.queries import describe

OTHERS: tuple[Language, ...] = ("es", "zh")
PERSON, DOG, CAR = Mention("person", "red"), Mention("dog", "blue"), Mention("car", "green")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed, 64) for seed in range(40)]


def wordings(query: Query, language: Language) -> set[str]:
    rng = np.random.default_rng(0)
    return {describe_in(query, language, rng) for _ in range(200)}


def test_every_kind_and_colour_has_its_own_phrase_in_every_language() -> None:
    pairs = [(kind, colour) for kind in (*KINDS, "person") for colour in COLOURS]
    phrases = {phrase_in(kind, colour, language) for kind, colour in pairs for language in LANGUAGES}
    assert len(phrases) == len(pairs) * len(LANGUAGES)


@pytest.mark.parametrize(
    ("kind", "colour", "spanish", "chinese"),
    [
        ("person", "red", "una persona de rojo", "一个穿红色衣服的人"),
        ("woman", "black", "una mujer de negro", "一个穿黑色衣服的女人"),
        ("child", "purple", "un niño de morado", "一个穿紫色衣服的小孩"),
        ("house", "red", "una casa roja", "一座红色的房子"),
        ("flower", "white", "una flor blanca", "一朵白色的花"),
        ("chair", "purple", "una silla morada", "一把紫色的椅子"),
        ("car", "yellow", "un coche amarillo", "一辆黄色的汽车"),
        ("kite", "orange", "una cometa naranja", "一只橙色的风筝"),
        ("bicycle", "brown", "una bicicleta marrón", "一辆棕色的自行车"),
        ("teddy bear", "pink", "un oso de peluche rosa", "一只粉色的泰迪熊"),
        ("horse", "black", "un caballo negro", "一匹黑色的马"),
    ],
)
def test_nouns_and_colours_agree(kind: str, colour: str, spanish: str, chinese: str) -> None:
    assert phrase_in(kind, colour, "es") == spanish
    assert phrase_in(kind, colour, "zh") == chinese


def test_clothes_agree_with_who_wears_them() -> None:
    assert wordings(Query((PERSON,)), "es") == {"una persona de rojo", "una persona vestida de rojo"}
    assert wordings(Query((Mention("man", "red"),)), "es") == {
        "un hombre de rojo",
        "un hombre vestido de rojo",
    }
    assert wordings(Query((PERSON,)), "zh") == {"一个穿红色衣服的人", "一个穿着红色衣服的人"}


def test_a_relation_keeps_its_direction_in_every_wording() -> None:
    assert wordings(Query((DOG, CAR), "left of"), "es") == {
        "un perro azul a la izquierda de un coche verde",
        "un coche verde a la derecha de un perro azul",
    }
    assert wordings(Query((DOG, CAR), "on"), "es") == {
        "un perro azul encima de un coche verde",
        "un perro azul sobre un coche verde",
        "un coche verde con un perro azul encima",
    }
    assert wordings(Query((DOG, CAR), "in front of"), "zh") == {
        "一只蓝色的狗在一辆绿色的汽车前面",
        "一只蓝色的狗在一辆绿色的汽车的前面",
        "一辆绿色的汽车前面有一只蓝色的狗",
        "一辆绿色的汽车的前面有一只蓝色的狗",
        "一辆绿色的汽车在一只蓝色的狗后面",
        "一辆绿色的汽车在一只蓝色的狗的后面",
    }
    assert wordings(Query((DOG, CAR), "on"), "zh") == {
        "一只蓝色的狗在一辆绿色的汽车上面",
        "一只蓝色的狗在一辆绿色的汽车的上面",
        "一辆绿色的汽车上面有一只蓝色的狗",
        "一辆绿色的汽车的上面有一只蓝色的狗",
    }


def test_settings_and_lists() -> None:
    assert wordings(Query((DOG,), None, "snow"), "es") == {
        "un perro azul en la nieve",
        "un paisaje nevado con un perro azul",
        "hay un perro azul en la nieve",
        "en la nieve hay un perro azul",
    }
    assert wordings(Query((DOG,), None, "beach"), "zh") == {
        "一只蓝色的狗在沙滩上",
        "沙滩上有一只蓝色的狗",
        "沙滩上的一只蓝色的狗",
        "一片沙滩，那里有一只蓝色的狗",
    }
    assert "una persona de rojo, un perro azul y un coche verde" in wordings(Query((PERSON, DOG, CAR)), "es")
    assert wordings(Query((DOG, CAR, Mention("ball", "red"))), "zh") == {
        "一只蓝色的狗、一辆绿色的汽车和一个红色的球"
    }
    third = Query((DOG, CAR, Mention("house", "red")), "right of", "park")
    assert (
        "un perro azul a la derecha de un coche verde, con una casa roja al lado, en el parque"
        in wordings(third, "es")
    )
    assert "公园里，一只蓝色的狗在一辆绿色的汽车右边，旁边还有一座红色的房子" in wordings(third, "zh")


@pytest.mark.parametrize("language", OTHERS)
def test_different_meanings_never_read_alike(language: Language) -> None:
    pair = (DOG, CAR)
    queries = [
        Query(pair, relation, setting) for relation in (None, *RELATIONS) for setting in (None, *SETTINGS)
    ]
    mirrored = Query((CAR, DOG), "right of")
    told = [wordings(query, language) for query in queries]
    assert len(set().union(*told)) == sum(map(len, told))
    assert wordings(mirrored, language) & wordings(Query(pair, "left of"), language)
    assert not wordings(mirrored, language) & wordings(Query(pair, "right of"), language)


def test_english_is_what_it_was() -> None:
    query = Query((PERSON, DOG), "left of", "beach")
    ours, theirs = np.random.default_rng(4), np.random.default_rng(4)
    assert [describe_in(query, "en", ours) for _ in range(20)] == [describe(query, theirs) for _ in range(20)]
    scene = make_scene(3, 64)
    assert scene.captions == (
        "there is a purple teddy bear in the park",
        "a purple teddy bear",
        "a park with a purple teddy bear",
    )
    assert scene.captions_in("en") == scene.captions and scene.phrases_in("en") == scene.phrases


@pytest.mark.parametrize("language", OTHERS)
def test_a_scene_is_told_again_with_one_caption_a_query(language: Language, scenes: list[Scene]) -> None:
    for scene in scenes:
        captions = scene.captions_in(language)
        assert len(set(captions)) == len(scene.queries) == len(captions)
        for caption, query in zip(captions, scene.queries, strict=True):
            rng = np.random.default_rng(1)
            assert any(describe_in(query, language, rng) == caption for _ in range(3000)), caption
    seed = scenes[-1].plan.seed
    assert make_scene(seed, 96).captions_in(language) == scenes[-1].captions_in(language)


def test_a_person_is_called_one_in_every_language(scenes: list[Scene]) -> None:
    called = {"person": 0, "man": 0}
    for scene in scenes:
        for english, spanish, chinese in zip(
            scene.phrases, scene.phrases_in("es"), scene.phrases_in("zh"), strict=True
        ):
            assert ("person" in english) == ("persona" in spanish) == ("衣服的人" in chinese)
            assert (" man " in english) == ("hombre" in spanish) == ("男人" in chinese)
            called["person"] += "person" in english
            called["man"] += " man " in english
    assert min(called.values()) > 0


def test_the_same_scenes_are_written_in_another_language(tmp_path: Path) -> None:
    write_scenes(tmp_path / "en", 3, 5, size=64, workers=0)
    write_scenes(tmp_path / "es", 3, 5, size=64, workers=0, language="es")
    english, spanish = (
        [json.loads(line) for line in (tmp_path / name / "metadata.jsonl").read_text("utf-8").splitlines()]
        for name in ("en", "es")
    )
    for seed, (ours, theirs) in enumerate(zip(spanish, english, strict=True), start=5):
        name = ours["file_name"]
        assert (tmp_path / "es" / name).read_bytes() == (tmp_path / "en" / name).read_bytes()
        scene = make_scene(seed, 64)
        assert ours.pop("language") == "es" and "language" not in theirs
        assert tuple(ours.pop("captions")) == scene.captions_in("es")
        assert tuple(s.pop("phrase") for s in ours["subjects"]) == scene.phrases_in("es")
        del theirs["captions"]
        for subject in theirs["subjects"]:
            del subject["phrase"]
        assert ours == theirs


def test_bad_languages_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown language 'fr': choose one of en, es, zh"):
        write_scenes(tmp_path / "set", 1, 1, language="fr")  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()
