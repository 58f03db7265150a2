"""A stand-in for `spaces` on ZeroGPU: its `GPU` runs a function in a forked process, in a thread there, as that one does.

Arguments and results are pickled. Of an error in the process only the name comes back, in a `gr.Error`.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import gradio as gr

PATIENCE = 120


class Spaces(ModuleType):
    """The module. forks: the seconds that each call asked for. refused: what is said instead of lending a GPU."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.forks: list[int] = []
        self.refused = ""

    def GPU(self, task: Callable[..., Any], *, duration: Callable[..., int]) -> Callable[..., Any]:  # noqa: N802
        def handler(*args: Any, **kwargs: Any) -> Any:
            if self.refused:
                raise gr.Error(self.refused, print_exception=False)
            self.forks.append(duration(*args, **kwargs))
            context = multiprocessing.get_context("fork")
            here, there = context.Pipe()
            process = context.Process(target=_worker, args=(task, there), daemon=True)
            process.start()
            try:
                here.send_bytes(pickle.dumps((args, kwargs)))
                assert here.poll(PATIENCE), "the forked process does not answer: what lock does it wait for?"
                kind, value = pickle.loads(here.recv_bytes())
            finally:
                process.kill()
                process.join()
            if kind == "error":
                raise gr.Error(value, title="ZeroGPU worker error", print_exception=False)
            return value

        return handler


def _worker(task: Callable[..., Any], connection: Connection) -> None:
    args, kwargs = pickle.loads(connection.recv_bytes())

    def run() -> bytes:
        try:
            return pickle.dumps(("value", task(*args, **kwargs)))
        except Exception as error:  # noqa: BLE001 - as `spaces` does, and of each it tells the name alone
            return pickle.dumps(("error", type(error).__name__))

    with ThreadPoolExecutor(1) as pool:
        connection.send_bytes(pool.submit(run).result())
    os._exit(0)
