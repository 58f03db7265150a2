"""Jobs run outside of this program, end in every way that programs end, and are found again. Commands are small scripts."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_me.errors import InputError
from ssa_me.jobs import JobQueue, read_json
from ssa_me.jobs import queue as queue_module
from ssa_me.jobs.job import Job, ending
from ssa_me.jobs.processes import Process

OBEDIENT = """
import pathlib, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
pathlib.Path("up").touch()
while not told: time.sleep(0.01)
pathlib.Path("saved").write_text(str(len(sys.argv)))
print('{"finished": false}')
sys.exit(1)
"""
STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("up").touch()
time.sleep(60)
"""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """Its jobs' arguments are scripts for Python."""
    made = JobQueue(tmp_path / "jobs", program=(sys.executable, "-c"))
    yield made
    for job in made.jobs():
        for process in (job.process, Process.from_json(read_json(job.folder / "process.json"))):
            if process is not None:
                process.signal(signal.SIGKILL)


def until(found: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def run(queue: JobQueue, script: str, **details: object) -> Job:
    job = queue.add("train", "A job", [script], details)
    queue.tick()
    return queue.job(job.id)


def ended(queue: JobQueue, job: Job) -> Job:
    until(lambda: queue.job(job.id).phase != "running")
    return queue.job(job.id)


def up(queue: JobQueue, script: str) -> Job:
    job = run(queue, script)
    until((job.folder / "up").exists)
    return job


def test_a_job_runs_to_its_end_in_its_own_session(queue: JobQueue) -> None:
    job = run(queue, "import os; print(os.getsid(0)); open('here', 'w').close()", data="mine")
    assert job.phase == "running" and job.process is not None
    done = ended(queue, job)
    assert (done.phase, done.reason, done.details) == ("done", "", {"data": "mine"})
    assert (job.folder / "here").exists()
    assert int((job.folder / "stdout.json").read_text()) not in (os.getsid(0), os.getsid(os.getpid()))
    assert done.ended is not None and done.started is not None and done.ended >= done.started


def test_one_runs_and_the_rest_wait_their_turn(queue: JobQueue) -> None:
    first = queue.add("train", "first", [OBEDIENT])
    second = queue.add("train", "second", ["pass"])
    assert [job.phase for job in queue.tick()] == ["running", "waiting"]
    until((first.folder / "up").exists)
    assert [job.phase for job in queue.tick()] == ["running", "waiting"]
    queue.stop(first.id)
    ended(queue, first)
    queue.tick()
    assert ended(queue, second).phase == "done"


def test_the_keeper_starts_what_waits_and_tells(queue: JobQueue) -> None:
    told: list[list[str]] = []
    jobs = [queue.add("train", name, ["pass"]) for name in ("a", "b")]
    queue.keep(lambda now: told.append([job.phase for job in now]), every=0.02)
    until(lambda: all(queue.job(job.id).phase == "done" for job in jobs))
    until(lambda: told[-1] == ["done", "done"])
    third = queue.add("train", "c", ["pass"])
    queue.keep(lambda now: None, every=0.02)
    until(lambda: queue.job(third.id).phase == "done")


def test_another_program_finds_a_running_job_and_can_stop_it(queue: JobQueue) -> None:
    job = up(queue, OBEDIENT)
    other = JobQueue(queue.folder, program=(sys.executable, "-c"))
    assert other.job(job.id).phase == "running"
    other.stop(job.id)
    assert ended(other, job).phase == "stopped"
    assert (job.folder / "saved").read_text() == "1"


def test_pause_and_resume_run_the_command_again(queue: JobQueue) -> None:
    job = up(queue, OBEDIENT)
    assert queue.pause(job.id).wish == "pause"
    assert ended(queue, job).phase == "paused"
    (job.folder / "up").unlink()
    assert queue.resume(job.id).phase == "waiting"
    queue.tick()
    until((job.folder / "up").exists)
    queue.stop(job.id)
    assert ended(queue, job).phase == "stopped"
    with pytest.raises(InputError, match="stopped already"):
        queue.pause(job.id)


def test_a_job_that_waits_is_paused_and_stopped_at_once(queue: JobQueue) -> None:
    job = queue.add("train", "a", ["pass"])
    assert queue.pause(job.id).phase == "paused"
    assert queue.tick()[0].phase == "paused"
    assert queue.stop(job.id).phase == "stopped"
    queue.resume(job.id)
    with pytest.raises(InputError, match="waiting; only"):
        queue.resume(job.id)


def test_one_that_does_not_listen_is_killed_by_the_second_stop(queue: JobQueue) -> None:
    job = up(queue, STUBBORN)
    queue.stop(job.id)
    time.sleep(0.1)
    assert queue.job(job.id).phase == "running"
    queue.stop(job.id)
    assert ended(queue, job).phase == "stopped"


@pytest.mark.parametrize(
    ("script", "phase", "reason"),
    [
        ("import sys; sys.exit('error: There is no data here. Give some.')", "failed", "There is no data here. Give some."),
        ("raise ArithmeticError('the loss is nan at step 5')", "failed", "ArithmeticError: the loss is nan at step 5"),
        ("raise MemoryError", "failed", "It ran out of memory. Take a smaller batch"),
        ("import torch_is_not_needed", "failed", "ModuleNotFoundError: No module named"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "The system killed it, most likely"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "interrupted", "told to stop from outside"),
        ("f = open('/dev/full', 'w'); f.write('x' * 9999999)", "failed", "The disk is full. Free some space"),
        ("open('/proc/1/environ')", "failed", "Its folder cannot be written"),
        ("import sys; sys.exit(3)", "failed", "exit code 3"),
    ],
)  # fmt: skip
def test_every_crash_is_shown_with_its_reason(queue: JobQueue, script: str, phase: str, reason: str) -> None:
    if "/proc/1" in script and os.geteuid() == 0:
        script = "raise PermissionError(13, 'Permission denied')"
    found = ended(queue, run(queue, script))
    assert found.phase == phase and reason in found.reason
    assert queue.resume(found.id).phase == "waiting"


def test_a_job_whose_machine_died_is_marked_and_can_be_resumed(queue: JobQueue) -> None:
    job = up(queue, OBEDIENT)
    own = Process.from_json(read_json(job.folder / "process.json"))
    assert own is not None and job.process is not None
    job.process.signal(signal.SIGKILL)
    until(lambda: job.process is not None and not job.process.alive())
    assert queue.job(job.id).phase == "running", "the command itself still runs"
    own.signal(signal.SIGKILL)
    found = ended(queue, job)
    assert found.phase == "interrupted" and "machine" in found.reason
    queue.resume(job.id)
    (job.folder / "up").unlink()
    queue.tick()
    until((job.folder / "up").exists)


def test_another_process_with_the_same_number_is_not_the_job(queue: JobQueue) -> None:
    job = queue.add("train", "a", ["pass"])
    me = Process.of(os.getpid())
    assert me is not None and me.alive()
    stranger = Process(me.pid, me.started - 60)
    assert not stranger.alive()
    queue._write(Job(**vars(job) | {"phase": "running", "process": stranger}))
    assert queue.job(job.id).phase == "interrupted"


def test_a_full_disk_and_a_read_only_folder_are_told_and_leave_nothing(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = queue.add("train", "kept", ["pass"])

    def refuse(number: int) -> Callable[..., None]:
        def write(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        return write

    for number, words in (
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "read-only"),
    ):
        monkeypatch.setattr(queue_module, "write_json", refuse(number))
        with pytest.raises(InputError, match=words):
            queue.add("train", "new", ["pass"])
        with pytest.raises(InputError, match=words):
            queue.pause(kept.id)
        with pytest.raises(InputError, match=words):
            queue.tick()
    monkeypatch.undo()
    assert [(job.id, job.phase) for job in queue.jobs()] == [(kept.id, "waiting")]
    assert not [path for path in queue.folder.iterdir() if path.name.startswith(".") and path.is_dir()]


def test_damaged_folders_are_passed_over(queue: JobQueue) -> None:
    for number, text in enumerate(("", "[]", '{"phase": "odd"}', '{"phase": "done"}')):
        folder = queue.folder / f"{number:012x}"
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(text)
    assert queue.jobs() == []
    for id in ("../outside", None, "a" * 12, 7):
        with pytest.raises(InputError):
            queue.job(id)


def test_a_job_is_removed_with_its_files_but_not_while_it_runs(queue: JobQueue) -> None:
    job = up(queue, OBEDIENT)
    with pytest.raises(InputError, match="Stop it first"):
        queue.remove(job.id)
    queue.stop(job.id)
    ended(queue, job)
    queue.remove(job.id)
    assert queue.jobs() == [] and not job.folder.exists()


def test_arguments_name_the_jobs_own_folder_and_files_lie_there(queue: JobQueue) -> None:
    job = queue.add("train", "a", ["print(open('{folder}/recipe.toml').read())"], files={"recipe.toml": "7"})
    queue.tick()
    ended(queue, job)
    assert (job.folder / "stdout.json").read_text().strip() == "7"
    assert queue.amend(job.id, version="v").details == {"version": "v"}


def test_endings_by_hand() -> None:
    assert ending("pause", 0, "", True) == ("done", "")
    assert ending("pause", -9, "", False)[0] == "paused"
    assert ending(None, None, "No space left on device", False)[1].startswith("The disk is full")
    assert ending(None, 1, "", True)[0] == "interrupted"
    assert ending(None, 2, "preparing images\nerror: bad\n", False) == ("failed", "bad")
