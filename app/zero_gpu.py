"""Hugging Face's ZeroGPU: whether the page runs there, and how it lends a function a GPU. Knows no model and no page.

A GPU is there only while a function that asked for it runs, in a process forked for it: arguments and results are pickled,
and of an error that the function raises only the name comes back. `spaces` lends it; it has to be imported before anything
touches CUDA, and a function has to ask before the page is served.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ssa_me.errors import InputError

VARIABLE = "SPACES_ZERO_GPU"

Work = Callable[..., Any]
Lend = Callable[[Work, Callable[..., int]], Work]
"""A function, and one that says of the same arguments for how many seconds it needs a GPU → the function on a GPU, which raises
InputError where none is to be had."""


def lender() -> Lend | None:
    """What lends functions a GPU; None where the page does not run on ZeroGPU. InputError where `spaces` is missing there."""
    if os.environ.get(VARIABLE, "").lower() not in {"1", "t", "true"}:
        return None
    try:
        import spaces
    except ImportError as error:
        raise InputError(
            f"{VARIABLE} says that this is ZeroGPU, but there is no package spaces, which lends its GPUs. "
            "Install it, or unset the variable."
        ) from error
    import gradio as gr

    def lend(work: Work, seconds: Callable[..., int]) -> Work:
        lent: Work = spaces.GPU(work, duration=seconds)

        def call(*arguments: Any) -> Any:
            try:
                return lent(*arguments)
            except gr.Error as error:  # a quota that is used up, no GPU within a minute, a process that ended
                raise InputError(f"ZeroGPU gave no answer: {str(error.message).strip()}") from error

        return call

    return lend
