"""The commands of `python -m ssa_me`, one module each. Importing them is cheap: models are imported when one runs."""

from ssa_me.commands import (
    ablate,
    checkpoints,
    evaluate,
    explain,
    failures,
    gallery,
    index,
    layers,
    mmeb,
    neglect,
    scenes,
    search,
    train,
    versions,
)
from ssa_me.commands.base import Answer, Command

COMMANDS: tuple[Command, ...] = (
    index.COMMAND,
    search.COMMAND,
    gallery.COMMAND,
    scenes.COMMAND,
    train.COMMAND,
    evaluate.COMMAND,
    mmeb.COMMAND,
    neglect.COMMAND,
    explain.COMMAND,
    failures.COMMAND,
    checkpoints.COMMAND,
    layers.COMMAND,
    ablate.COMMAND,
    versions.COMMAND,
)

__all__ = ["COMMANDS", "Answer", "Command"]
