"""Which pixels and words make a similarity, by Captum's methods, and how far a map can be trusted."""

from ssa_me.attribution.attributing import AttributionCache, attribute, attribution_cache
from ssa_me.attribution.result import Attribution, Balance, Part, Word
from ssa_me.attribution.settings import BASELINES, METHODS, TARGETS, Method, Settings
from ssa_me.attribution.watching import Cancelled

__all__ = [
    "BASELINES",
    "METHODS",
    "TARGETS",
    "Attribution",
    "AttributionCache",
    "Balance",
    "Cancelled",
    "Method",
    "Part",
    "Settings",
    "Word",
    "attribute",
    "attribution_cache",
]
