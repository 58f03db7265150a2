"""Runs one command, and writes down how it ended: `python -m ssa_me.jobs.watch FOLDER -- COMMAND…`.

It is the leader of the command's session, so that both outlive the program that started them. SIGTERM is handed on, to
the command alone: processes that it started itself are its own to end. In FOLDER it leaves `process.json`, `stdout.json`,
`stderr.txt` and, at the end, `exit.json` with the exit code (negative: the signal that killed it).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ssa_me.jobs.files import write_json
from ssa_me.jobs.processes import Process


def main(argv: Sequence[str]) -> int:
    """Run the command of `argv` to its end and return its exit code."""
    folder, command = Path(argv[0]), list(argv[2:])
    told: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, _: object) -> None:
        told.append(number)
        if child is not None and child.poll() is None:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    with (folder / "stdout.json").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        if told and child.poll() is None:
            child.send_signal(told[-1])
        own = Process.of(child.pid)
        if own is not None:
            write_json(folder / "process.json", own.to_json())
        code = child.wait()
    write_json(folder / "exit.json", {"code": code, "ended": time.time()})
    return code if code >= 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
