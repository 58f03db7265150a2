"""The command line: reads arguments, runs one command, prints its answer. It knows no models.

Exit codes: 0 done, 2 bad input or usage (one line on stderr), 1 anything else. The answer goes to stdout; progress and
whatever libraries print go to stderr, so that `--json` leaves exactly one JSON object on stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ssa_me.commands import COMMANDS, Answer
from ssa_me.commands.base import add_common
from ssa_me.errors import InputError

DONE, FAILED, BAD_INPUT = 0, 1, 2
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as those of bad input."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ssa_me",
        description="Search images with two models side by side, and see what each of them looks at.",
    )
    parser.set_defaults(expert=None)  # for the commands that have none
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.summary, description=command.summary)
        command.arguments(own)
        add_common(own)
        own.set_defaults(run=command.run, online=command.online)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. What nobody foresaw is raised: Python shows it and exits with 1."""
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stopped:  # argparse has printed its help or its error
        return stopped.code if isinstance(stopped.code, int) else BAD_INPUT
    try:
        stay_offline(args.checkpoint, *_paths(args.expert), online=args.online(args))
        with contextlib.redirect_stdout(sys.stderr):
            answer: Answer = args.run(args, _progress)
        print(to_json(answer.data) if args.json else _printable(answer.text), flush=True)
    except InputError as error:
        print(_printable(f"error: {' '.join(str(error).split())}"), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        _close_stdout()
        return FAILED
    except OSError as error:
        print(_printable(f"error: {error}"), file=sys.stderr)
        return FAILED
    return DONE if answer.done else FAILED


def stay_offline(*sources: str | None, online: bool = False) -> None:
    """Keep libraries that are imported from here on off the network, unless one of `sources` is the id of a hub, or the
    folder of a LoRA adapter, whose model may be there, or `online` says that the data comes from one.

    What the environment sets already is left alone.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if not online and not any(needs_hub(source) for source in sources):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _paths(expert: str | None) -> list[str]:
    """What stands after the colon of `--expert`."""
    return [path.strip() for path in (expert or "").partition(":")[2].split(",")]


def needs_hub(checkpoint: str | None) -> bool:
    """Whether `checkpoint` may have to be fetched, it or the model that it adapts."""
    if checkpoint is None:
        return False
    if Path(checkpoint).exists():
        return (Path(checkpoint) / "adapter_config.json").is_file()
    return _HUB_ID.fullmatch(checkpoint) is not None and not checkpoint.startswith(".")


def to_json(data: Mapping[str, Any]) -> str:
    """One JSON object in ASCII, numbers that are none (NaN, infinity) as null."""
    return json.dumps(_finite(data), allow_nan=False, indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _progress(line: str) -> None:
    print(_printable(line), file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """`text` with what the terminal's encoding lacks, or is no character at all, as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _close_stdout() -> None:
    """The reader is gone: let what Python still flushes at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
