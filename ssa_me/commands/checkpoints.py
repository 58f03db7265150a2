"""`checkpoints`: public checkpoints to start from, by the hardware that they need."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ssa_me.commands.base import Answer, Command, Progress, table

_HEADER = ("checkpoint", "kind", "parameters", "weights", "memory", "pooling", "licence")


def _arguments(parser: ArgumentParser) -> None:
    pass


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.checkpoints import CHECKPOINTS
    from ssa_me.families import FAMILIES

    by_hardware: dict[str, list[tuple[str, ...]]] = {}
    listed = []
    for known in CHECKPOINTS:
        family, reading = FAMILIES[known.family].title, known.reading
        listed.append(
            {
                "id": known.id,
                "family": family,
                "embeds": known.embeds,
                "base": known.base,
                "parameters": known.parameters,
                "weights_gb": round(known.weights_gb, 2),
                "memory_gb": round(known.memory_gb, 2),
                "hardware": known.hardware,
                "pooling": reading.pooling,
                "prompt": reading.prompt,
                "instruction": reading.instruction,
                "query_instruction": reading.query_instruction,
                "licence": known.licence,
            }
        )
        kind = "embeds" if known.embeds else "language model"
        row = (
            known.id,
            f"{kind}, LoRA on {known.base.rpartition('/')[2]}" if known.base else kind,
            f"{known.parameters / 1e9:.2f} B",
            f"{known.weights_gb:.1f} GB",
            f"{known.memory_gb:.1f} GB",
            reading.pooling,
            known.licence or "see its card",
        )
        by_hardware.setdefault(known.hardware, []).append(row)
    parts = [f"{hardware}\n{table(rows, _HEADER)}" for hardware, rows in by_hardware.items()]
    families = ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
    notes = (
        "Weights in 16 bits; memory is an estimate for embedding. Give an id to --checkpoint: it is downloaded once.\n"
        f"Any other checkpoint of these families works as well: {families}."
    )
    return Answer({"checkpoints": listed}, "\n\n".join([*parts, notes]))


COMMAND = Command("checkpoints", "list public checkpoints to start from, by hardware", _arguments, _run)
