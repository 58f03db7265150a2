"""Which pixels and words make a similarity, by Captum's methods, and how far a map can be trusted."""

from ssa_me.attribution.attributing import AttributionCache, attribute, attribution_cache
from ssa_me.attribution.balance import Balances, ModalityBalance, Side, modality_balance
from ssa_me.attribution.measures import FORMULAS, Check, Curve, Verdict
from ssa_me.attribution.quality import Quality, assess
from ssa_me.attribution.result import Attribution, Balance, Part, Word
from ssa_me.attribution.sanity import Sanity, sanity_check
from ssa_me.attribution.settings import BASELINES, METHODS, TARGETS, Method, Settings
from ssa_me.attribution.watching import Cancelled

__all__ = [
    "BASELINES",
    "FORMULAS",
    "METHODS",
    "TARGETS",
    "Attribution",
    "AttributionCache",
    "Balance",
    "Balances",
    "Cancelled",
    "Check",
    "Curve",
    "Method",
    "ModalityBalance",
    "Part",
    "Quality",
    "Sanity",
    "Settings",
    "Side",
    "Verdict",
    "Word",
    "assess",
    "attribute",
    "attribution_cache",
    "modality_balance",
    "sanity_check",
]
