"""Ablations: what each part of the method gives, trained and measured alike. It stands on training and evaluation."""

from ssa_me.ablation.study import StudyRequest, run_study
from ssa_me.ablation.variants import VARIANTS, Variant

__all__ = ["VARIANTS", "StudyRequest", "Variant", "run_study"]
