"""Measures of retrieval and localisation, MMEB's protocol, and intervals for all of them."""

from ssa_me.evaluation.bootstrap import Estimate, estimate
from ssa_me.evaluation.evaluate import evaluate
from ssa_me.evaluation.localisation import RegionScore, score_region, summarise
from ssa_me.evaluation.mmeb import run_mmeb
from ssa_me.evaluation.models import MODELS, Model, parse_models
from ssa_me.evaluation.retrieval import Retrieval, retrieve, score_rows

__all__ = [
    "MODELS",
    "Estimate",
    "Model",
    "RegionScore",
    "Retrieval",
    "estimate",
    "evaluate",
    "parse_models",
    "retrieve",
    "run_mmeb",
    "score_region",
    "score_rows",
    "summarise",
]
