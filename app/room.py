"""How much memory a run needs and what is free, beside the model of the page; and the device it will run on."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from ssa_me.errors import InputError
from ssa_me.jobs import read_json

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.training.recipe import Recipe

_GB = 1e9
_PIXELS, _TEXT = 448 * 448, 16
_PROGRAM_GB = 0.9
"""What Python, PyTorch and the page's libraries take beside weights and activations."""


def cores() -> int:
    """Processor cores that a run may use."""
    from ssa_me.scenes.export import available_cores

    return available_cores()


def device_of(workspace: Workspace) -> str:
    """The device of the page's model, which is the run's too."""
    info = workspace.model()
    if info is not None:
        return info.device
    from ssa_me.devices import choose_device

    return str(choose_device(workspace.device).device)


def size_of(checkpoint: Path, recipe: Recipe) -> tuple[int, dict[str, Any]]:
    """Parameters of a checkpoint, and the memory of each version's step under a recipe, of a model without weights."""
    lora = recipe.adapters
    found = _planned(checkpoint, lora.targets, lora.rank, lora.batch, lora.chunks, lora.composed_share)
    return int(found["parameters"]), dict(found["versions"])


@lru_cache(maxsize=32)
def _planned(
    checkpoint: Path, targets: tuple[str, ...], rank: int, batch: int, chunks: int, share: float
) -> dict[str, Any]:
    from ssa_me.checkpoint import BASELINE, SSA_ME
    from ssa_me.training.plan import Step, plan

    steps = {BASELINE: Step(batch, chunks), SSA_ME: Step(batch, chunks, phrases=2.0, phrase_share=share / 2)}
    return plan(checkpoint / "config.json", targets, rank, steps)


def tokens_of(checkpoint: Path) -> int:
    """Tokens of an image with a caption, by the pixels that the checkpoint's processor keeps."""
    table = read_json(checkpoint / "preprocessor_config.json") or {}
    side = int(table.get("patch_size") or 14) * int(table.get("merge_size") or 2)
    return max(1, _pixels(table) // side**2) + _TEXT


def images_gb(checkpoint: Path, images: int) -> float:
    """What prepared images take in the machine's memory: three channels in 16 bits, twice for the patches' two moments."""
    pixels = _pixels(read_json(checkpoint / "preprocessor_config.json") or {})
    return images * pixels * 3 * 2 * 2 / _GB


def _pixels(table: Mapping[str, Any]) -> int:
    """The most pixels of an image that a processor's settings keep, 448 × 448 at most."""
    size = table.get("size")
    most = size.get("longest_edge") if isinstance(size, dict) else None
    return min(int(most or _PIXELS), _PIXELS)


def free_gb(device: str) -> tuple[float, float]:
    """Free memory and all of it, in 10⁹ bytes: of the GPU, or of the machine."""
    if device.startswith("cuda"):
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return free / _GB, total / _GB
    memory = psutil.virtual_memory()
    return memory.available / _GB, memory.total / _GB


def shared(device: str, needed_gb: float | None, images_gb: float) -> dict[str, Any]:
    """What a run shares with the page, in a sentence, with the numbers behind it. images_gb: they lie in the machine's
    memory, wherever the model is."""
    free, total = free_gb(device)
    on_gpu = device.startswith("cuda")
    needed = None if needed_gb is None else round(needed_gb + (0.5 if on_gpu else _PROGRAM_GB + images_gb), 2)
    what = "GPU" if on_gpu else "processor and memory"
    slower = "the page's model stays there" if on_gpu else "searching is slower while it runs"
    told = f"The run shares the {what} with this page: {slower}. {free:.1f} of {total:.1f} GB are free."
    return {"needed_gb": needed, "free_gb": round(free, 2), "shares": told}


def free(about: Mapping[str, Any]) -> None:
    """Give back what the page holds without need before a run starts. InputError where that is not enough."""
    gc.collect()
    device = str(about["device"])
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    now, _ = free_gb(device)
    needed = about.get("needed_gb")
    if needed is not None and needed > now:
        raise InputError(
            f"The run needs about {needed:.1f} GB, and {now:.1f} GB are free beside this page. Take a smaller batch or "
            "more chunks, or close what else uses the memory."
        )
