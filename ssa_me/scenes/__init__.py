"""The generated world: drawn scenes with exact masks, captions and subjects, their twins, and the binding
tasks."""

from ssa_me.scenes.binding import BindingReport, BindingTask, binding_task, has_words, write_binding
from ssa_me.scenes.export import write_scenes
from ssa_me.scenes.languages import LANGUAGES, Language, describe_in, phrase_in
from ssa_me.scenes.queries import Facts, Mention, Query
from ssa_me.scenes.vocabulary import (
    COLOURS,
    EVALUATION_SEED,
    HELD_OUT,
    KINDS,
    PAIRS,
    RELATIONS,
    SETTINGS,
    Pairs,
)
from ssa_me.scenes.world import (
    Plan,
    Scene,
    SceneSubject,
    make_scene,
    plan_scene,
    render,
    satisfies,
    twin,
    twin_plan,
)

__all__ = [
    "COLOURS",
    "EVALUATION_SEED",
    "HELD_OUT",
    "KINDS",
    "LANGUAGES",
    "PAIRS",
    "RELATIONS",
    "SETTINGS",
    "BindingReport",
    "BindingTask",
    "Facts",
    "Language",
    "Mention",
    "Pairs",
    "Plan",
    "Query",
    "Scene",
    "SceneSubject",
    "binding_task",
    "describe_in",
    "has_words",
    "make_scene",
    "phrase_in",
    "plan_scene",
    "render",
    "satisfies",
    "twin",
    "twin_plan",
    "write_binding",
    "write_scenes",
]
