"""Training: `run(TrainRequest)` makes a checkpoint folder from data and a recipe."""

from ssa_me.training.run import TrainRequest, run

__all__ = ["TrainRequest", "run"]
