"""A model on a GPU that is lent for one call at a time: its passes run in a process of their own. Knows no page and no gallery.

The process is a fork of this one. It has the model as it was loaded; what a call changes in memory stays there. So only data
goes across, samples, images, settings and arrays: no callbacks, no galleries, and of what is wrong with the input the
sentence. Nothing that a pass needs is used here meanwhile, or a fork could find a lock held by a thread that it lacks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from app.zero_gpu import Lend
from ssa_me.backbone import MAX_TEXT_TOKENS
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.passes import Passes

P = ParamSpec("P")
Result = TypeVar("Result")
PASS_SECONDS, WORK_SECONDS = 30, 90
"""For how long a GPU is asked: for embedding and explaining, and for longer work such as an attribution. What is not used is
not counted, but a visitor's share has to hold it."""
REASON = "ZeroGPU lends one for each question"


@dataclass(frozen=True)
class _Answer:
    """What comes back: the result, or what was wrong with the input."""

    result: Any = None
    trouble: str | None = None


def _lent(
    method: Callable[Concatenate[SalientEmbedder, P], Result],
) -> Callable[Concatenate[LentEmbedder, P], Result]:
    """The same method, run where the GPU is."""

    @wraps(method)
    def call(self: LentEmbedder, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self._call(PASS_SECONDS, method, args, kwargs)

    return call


class LentEmbedder(SalientEmbedder):
    """`model`, whose passes run on a GPU that `lend` lends. Make it in the thread that loaded the model, before the page is
    served. Whatever runs passes raises InputError, too, where no GPU is to be had."""

    def __init__(self, model: SalientEmbedder, lend: Lend) -> None:
        self.info = replace(model.info, reason=REASON)
        self._passes = model._passes
        self._words = copy(model._passes.backbone)
        self._words.tokenizer = deepcopy(model._passes.backbone.tokenizer)
        self._words_lock = threading.Lock()

        def work(seconds: int, function: Callable[..., Any], args: Any, kwargs: Any) -> _Answer:
            try:
                return _Answer(function(model, *args, **kwargs))
            except InputError as error:
                return _Answer(trouble=str(error))

        self._work = lend(work, _seconds)

    embed = _lent(SalientEmbedder.embed)
    embed_query = _lent(SalientEmbedder.embed_query)
    embed_region = _lent(SalientEmbedder.embed_region)
    embed_redrawn = _lent(SalientEmbedder.embed_redrawn)
    embed_weighted = _lent(SalientEmbedder.embed_weighted)
    subjects = _lent(SalientEmbedder.subjects)
    explain = _lent(SalientEmbedder.explain)
    maps = _lent(SalientEmbedder.maps)
    layer_maps = _lent(SalientEmbedder.layer_maps)
    control_maps = _lent(SalientEmbedder.control_maps)

    def run(
        self,
        work: Callable[Concatenate[SalientEmbedder, P], Result],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Result:
        """A function of a module on the model and data, where the GPU is."""
        return self._call(WORK_SECONDS, work, args, kwargs)

    def reads_whole(self, text: str) -> bool:
        with self._words_lock:
            return len(self._words.text_ids(text)) < MAX_TEXT_TOKENS

    @contextmanager
    def exact(self) -> Iterator[Passes]:
        _refuse()
        yield self._passes

    @contextmanager
    def _locked(self) -> Iterator[None]:
        _refuse()
        yield

    def _call(self, seconds: int, function: Callable[..., Result], args: Any, kwargs: Any) -> Result:
        answer: _Answer = self._work(seconds, function, args, kwargs)
        if answer.trouble is not None:
            raise InputError(answer.trouble)
        result: Result = answer.result
        return result


def run_on(
    embedder: SalientEmbedder,
    work: Callable[Concatenate[SalientEmbedder, P], Result],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Result:
    """`work` on a model and data, where the model's passes run: here, or where a GPU is lent for it."""
    if isinstance(embedder, LentEmbedder):
        return embedder.run(work, *args, **kwargs)
    return work(embedder, *args, **kwargs)


def _seconds(seconds: int, *_: object) -> int:
    return seconds


def _refuse() -> None:
    raise RuntimeError("No pass runs in this process: its GPU is lent to another. Use `run`.")
