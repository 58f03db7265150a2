"""The commands of `python -m ssa_me`, one module each. Importing them is cheap: models are imported when one runs."""

from ssa_me.commands import checkpoints, evaluate, explain, index, mmeb, scenes, search, train
from ssa_me.commands.base import Answer, Command

COMMANDS: tuple[Command, ...] = (
    index.COMMAND,
    search.COMMAND,
    scenes.COMMAND,
    train.COMMAND,
    evaluate.COMMAND,
    mmeb.COMMAND,
    explain.COMMAND,
    checkpoints.COMMAND,
)

__all__ = ["COMMANDS", "Answer", "Command"]
