"""Queries and phrases of the generated world in English, Spanish and Chinese.

English is `queries.describe` and `vocabulary.phrase`, unchanged; this file holds the words and the grammar of
the other two. Knows nothing of pixels or of which scene is told.
"""

from __future__ import annotations

from typing import Literal, assert_never

import numpy as np

from ssa_me.errors import InputError
from ssa_me.scenes.queries import Query, describe
from ssa_me.scenes.vocabulary import INVERSE, PERSON, PERSONS, phrase

Language = Literal["en", "es", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "es", "zh")

_ES_NOUNS = {
    "person": ("persona", "f"),
    "man": ("hombre", "m"),
    "woman": ("mujer", "f"),
    "child": ("niño", "m"),
    "dog": ("perro", "m"),
    "cat": ("gato", "m"),
    "bird": ("pájaro", "m"),
    "horse": ("caballo", "m"),
    "car": ("coche", "m"),
    "bus": ("autobús", "m"),
    "bicycle": ("bicicleta", "f"),
    "boat": ("barco", "m"),
    "house": ("casa", "f"),
    "tree": ("árbol", "m"),
    "flower": ("flor", "f"),
    "ball": ("pelota", "f"),
    "teddy bear": ("oso de peluche", "m"),
    "kite": ("cometa", "f"),
    "chair": ("silla", "f"),
}
"""Each noun and its gender; every mention is singular."""
_ES_COLOURS = {
    "red": ("rojo", "roja"),
    "orange": ("naranja", "naranja"),
    "yellow": ("amarillo", "amarilla"),
    "green": ("verde", "verde"),
    "blue": ("azul", "azul"),
    "purple": ("morado", "morada"),
    "pink": ("rosa", "rosa"),
    "brown": ("marrón", "marrón"),
    "black": ("negro", "negra"),
    "white": ("blanco", "blanca"),
}
"""Masculine and feminine of each colour; clothes are named by the masculine: `de rojo`."""
_ES_SETTINGS = {
    "beach": ("en la playa", "una playa"),
    "park": ("en el parque", "un parque"),
    "street": ("en la calle", "una calle"),
    "snow": ("en la nieve", "un paisaje nevado"),
    "desert": ("en el desierto", "un desierto"),
    "forest": ("en el bosque", "un bosque"),
    "kitchen": ("en la cocina", "una cocina"),
    "night city": ("en la ciudad por la noche", "una ciudad de noche"),
}
"""Where a subject is, and the setting as a thing."""
_ES_RELATIONS = {
    "left of": ("a la izquierda de",),
    "right of": ("a la derecha de",),
    "in front of": ("delante de",),
    "behind": ("detrás de",),
    "on": ("encima de", "sobre"),
}

_ZH_NOUNS = {
    "person": ("个", "人"),
    "man": ("个", "男人"),
    "woman": ("个", "女人"),
    "child": ("个", "小孩"),
    "dog": ("只", "狗"),
    "cat": ("只", "猫"),
    "bird": ("只", "鸟"),
    "horse": ("匹", "马"),
    "car": ("辆", "汽车"),
    "bus": ("辆", "公交车"),
    "bicycle": ("辆", "自行车"),
    "boat": ("艘", "船"),
    "house": ("座", "房子"),
    "tree": ("棵", "树"),
    "flower": ("朵", "花"),
    "ball": ("个", "球"),
    "teddy bear": ("只", "泰迪熊"),
    "kite": ("只", "风筝"),
    "chair": ("把", "椅子"),
}
"""The measure word of each noun, and the noun."""
_ZH_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "brown": "棕色",
    "black": "黑色",
    "white": "白色",
}
_ZH_SETTINGS = {
    "beach": ("沙滩上", "一片沙滩"),
    "park": ("公园里", "一座公园"),
    "street": ("街道上", "一条街道"),
    "snow": ("雪地里", "一片雪地"),
    "desert": ("沙漠里", "一片沙漠"),
    "forest": ("森林里", "一片森林"),
    "kitchen": ("厨房里", "一间厨房"),
    "night city": ("夜晚的城市里", "一座夜晚的城市"),
}
"""Where a subject is, and the setting as a thing."""
_ZH_RELATIONS = {
    "left of": "左边",
    "right of": "右边",
    "in front of": "前面",
    "behind": "后面",
    "on": "上面",
}


def check_language(language: str) -> Language:
    """`language` as one of `LANGUAGES`; InputError where it is none of them."""
    for known in LANGUAGES:
        if language == known:
            return known
    raise InputError(f"Unknown language {language!r}: choose one of {', '.join(LANGUAGES)}.")


def phrase_in(kind: str, colour: str, language: Language) -> str:
    """A subject in words: `a person in red`, `una persona de rojo`, `一个穿红色衣服的人`.

    `kind` may be `person`. Raises InputError for an unknown language.
    """
    match check_language(language):
        case "en":
            return phrase(kind, colour)
        case "es":
            return _es_phrase(kind, colour, "de")
        case "zh":
            return _zh_phrase(kind, colour, "穿")
        case other:
            assert_never(other)


def describe_in(query: Query, language: Language, rng: np.random.Generator) -> str:
    """`query` in short natural words of `language`, one of several wordings that `rng` chooses.

    A query with a setting has at least three wordings. Raises InputError for an unknown language.
    """
    match check_language(language):
        case "en":
            return describe(query, rng)
        case "es":
            return _describe_es(query, rng)
        case "zh":
            return _describe_zh(query, rng)
        case other:
            assert_never(other)


def _es_phrase(kind: str, colour: str, dressed: str) -> str:
    """`una casa roja`; a person takes `dressed` between noun and colour: `de`, `vestida de`."""
    noun, gender = _ES_NOUNS[kind]
    masculine, feminine = _ES_COLOURS[colour]
    article = "una" if gender == "f" else "un"
    if kind in (*PERSONS, PERSON):
        return f"{article} {noun} {dressed} {masculine}"
    return f"{article} {noun} {feminine if gender == 'f' else masculine}"


def _describe_es(query: Query, rng: np.random.Generator) -> str:
    dressed = rng.random() < 0.35
    names = [
        _es_phrase(
            m.kind, m.colour, f"vestid{'a' if _ES_NOUNS[m.kind][1] == 'f' else 'o'} de" if dressed else "de"
        )
        for m in query.subjects
    ]
    where, place = _ES_SETTINGS[query.setting] if query.setting else ("", "")
    if query.relation:
        core = _es_relation(names[0], query.relation, names[1], rng)
        aside = "".join(f", con {name} al lado" for name in names[2:])
        if not where:
            return core + aside
        if rng.random() < 0.3:
            return f"{where}, {core}{aside}"
        return f"{core}{aside}{',' if aside else ''} {where}"
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} y {names[-1]}"
    if not where:
        return listed
    wordings = (
        f"{listed} {where}",
        f"{place} con {listed}",
        f"hay {listed} {where}",
        f"{where} hay {listed}",
    )
    return wordings[rng.integers(len(wordings))]


def _es_relation(first: str, relation: str, second: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        if relation not in INVERSE:
            return f"{second} con {first} encima"
        first, relation, second = second, INVERSE[relation], first
    words = _ES_RELATIONS[relation]
    return f"{first} {words[rng.integers(len(words))]} {second}"


def _zh_phrase(kind: str, colour: str, wears: str) -> str:
    """`一座红色的房子`; a person `wears` clothes of the colour: `穿`, `穿着`."""
    measure, noun = _ZH_NOUNS[kind]
    if kind in (*PERSONS, PERSON):
        return f"一{measure}{wears}{_ZH_COLOURS[colour]}衣服的{noun}"
    return f"一{measure}{_ZH_COLOURS[colour]}的{noun}"


def _describe_zh(query: Query, rng: np.random.Generator) -> str:
    wears = "穿着" if rng.random() < 0.35 else "穿"
    names = [_zh_phrase(m.kind, m.colour, wears) for m in query.subjects]
    where, place = _ZH_SETTINGS[query.setting] if query.setting else ("", "")
    if query.relation:
        core = _zh_relation(names[0], query.relation, names[1], rng)
        core += f"，旁边还有{'和'.join(names[2:])}" if names[2:] else ""
        opening = ("", "在")[int(rng.random() < 0.4)]
        return f"{opening}{where}，{core}" if where else core
    listed = names[0] if len(names) == 1 else f"{'、'.join(names[:-1])}和{names[-1]}"
    if not where:
        return listed
    wordings = (f"{listed}在{where}", f"{where}有{listed}", f"{where}的{listed}", f"{place}，那里有{listed}")
    return wordings[rng.integers(len(wordings))]


def _zh_relation(first: str, relation: str, second: str, rng: np.random.Generator) -> str:
    """`甲在乙左边`, `乙左边有甲`, or from the other's side `乙在甲右边`."""
    form = rng.random()
    of = "的" if rng.random() < 0.35 else ""
    if form < 0.3:
        return f"{second}{of}{_ZH_RELATIONS[relation]}有{first}"
    if form < 0.5 and relation in INVERSE:
        first, relation, second = second, INVERSE[relation], first
    return f"{first}在{second}{of}{_ZH_RELATIONS[relation]}"
