"""Hard negatives of a scene: what it shows bound otherwise, placed otherwise, and elsewhere. It draws nothing.

A twin keeps the scene's seed, so that it differs in nothing but what its plan says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssa_me.scenes.vocabulary import COLOUR_NAMES, RELATIONS, SETTING_NAMES, Pairs, allowed, fits, possible
from ssa_me.scenes.world import Plan, twin_plan

TWINS = 3
"""How many twins a scene has."""


def twin_plans(plan: Plan) -> tuple[Plan, Plan, Plan]:
    """The same words bound otherwise (`twin_plan`), the same subjects placed otherwise, and in another setting."""
    return twin_plan(plan), placed_otherwise(plan), elsewhere(plan)


def placed_otherwise(plan: Plan) -> Plan:
    """The two subjects of the relation exchange their places; where that is impossible they stand in another relation.
    A single subject has no place to exchange: it takes another colour."""
    rng = np.random.default_rng([plan.seed, 10])
    if len(plan.subjects) == 1:
        kind, colour = plan.subjects[0]
        pairs: Pairs = "all" if plan.pairs == "held-out" else plan.pairs
        colours = [c for c in COLOUR_NAMES if c != colour and allowed(kind, c, pairs)]
        return replace(plan, subjects=((kind, colours[rng.integers(len(colours))]),))
    first, second, *others = plan.subjects
    if possible(plan.relation, second[0], first[0]):
        return replace(plan, subjects=(second, first, *others))
    ways = [way for way in RELATIONS if way != plan.relation and possible(way, first[0], second[0])]
    return replace(plan, relation=ways[rng.integers(len(ways))])


def elsewhere(plan: Plan) -> Plan:
    """The same subjects in a setting that fits all of them."""
    rng = np.random.default_rng([plan.seed, 11])
    homes = [
        name
        for name in SETTING_NAMES
        if name != plan.setting and all(fits(kind, name) for kind, _ in plan.subjects)
    ]
    return replace(plan, setting=homes[rng.integers(len(homes))])
