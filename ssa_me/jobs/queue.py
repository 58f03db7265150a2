"""A queue of jobs in a folder: `slots` run at a time, the rest wait. Every program that opens the folder sees the same.

    FOLDER/ID/job.json   what the job is and how it stands; beside it what `watch` leaves, and the job's own files

A job belongs to no program: it runs in a session of its own, and is found again by number and start time of its process.
All methods may be called from several threads and programs at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError, disk_trouble
from ssa_me.jobs.files import read_json, write_json
from ssa_me.jobs.job import RESUMABLE, Job, Wish, ending
from ssa_me.jobs.processes import Process

log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{12}")
_ROOT = Path(__file__).resolve().parents[2]
_FILE = "job.json"


class JobQueue:
    """The jobs of a folder. `program` is what a job's arguments are given to, by default `python -m ssa_me`."""

    def __init__(self, folder: Path, slots: int = 1, program: Sequence[str] = ()) -> None:
        self.folder, self.slots = folder, slots
        self._program = tuple(program) or (sys.executable, "-m", "ssa_me")
        self._lock = threading.RLock()
        self._depth = 0
        self._keeper: threading.Thread | None = None

    # Looking

    def jobs(self) -> list[Job]:
        """All jobs, oldest first; a folder that holds none is passed over."""
        with self._alone():
            return self._jobs()

    def job(self, id: object) -> Job:
        """The job of that id. InputError where there is none."""
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise InputError("That is not the name of a job. Choose one from the list.")
        with self._alone():
            found = self._read(self.folder / id)
        if found is None:
            raise InputError("There is no such job (any more). Choose one from the list.")
        return found

    # Asking

    def add(
        self,
        kind: str,
        name: str,
        arguments: Sequence[str],
        details: Mapping[str, Any] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Job:
        """Put a job at the end of the queue. `files` lie in its folder before it can be seen. InputError where the disk is
        full or the folder read-only; then nothing is left."""
        id = uuid.uuid4().hex[:12]
        target, building = self.folder / id, self.folder / f".{id}"
        job = Job(id, kind, name, tuple(arguments), time.time(), target, dict(details or {}))
        try:
            building.mkdir(parents=True)
            for file, text in (files or {}).items():
                (building / file).write_text(text, encoding="utf-8")
            write_json(building / _FILE, job.to_json())
            building.rename(target)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise disk_trouble(error, "the job") from error
        return job

    def pause(self, id: object) -> Job:
        """Let a job save its state and end; `resume` goes on from there. It keeps neither processor nor memory."""
        return self._ask(id, "pause")

    def stop(self, id: object) -> Job:
        """As `pause`, for good: what it has come to by then is its result. `resume` is still possible. A second call
        kills a job that did not follow the first."""
        return self._ask(id, "stop")

    def resume(self, id: object) -> Job:
        """Put a job that was paused, stopped, interrupted or failed back in the queue. InputError for any other."""
        with self._alone():
            job = self.job(id)
            if job.phase not in RESUMABLE:
                raise InputError(f"The job is {job.phase}; only one that has been left can be resumed.")
            return self._write(replace(job, phase="waiting", wish=None, reason="", ended=None, process=None))

    def remove(self, id: object) -> None:
        """Delete a job with all its files. InputError while it runs."""
        with self._alone():
            job = self.job(id)
            if job.phase == "running":
                raise InputError("The job is running. Stop it first.")
            try:
                shutil.rmtree(job.folder)
            except OSError as error:
                raise disk_trouble(error, "the folder of jobs") from error

    def amend(self, id: str, **details: Any) -> Job:
        """Change what the owner keeps in a job's details."""
        with self._alone():
            job = self.job(id)
            return self._write(replace(job, details={**job.details, **details}))

    # Running

    def tick(self) -> list[Job]:
        """Start what may start, and return all jobs as they stand."""
        with self._alone():
            jobs = self._jobs()
            free = self.slots - sum(job.phase == "running" for job in jobs)
            for job in [job for job in jobs if job.phase == "waiting"][: max(0, free)]:
                self._start(job)
            return self._jobs()

    def keep(self, each: Callable[[list[Job]], None], every: float = 0.5) -> None:
        """Tick in the background as long as anything waits or runs, and hand the jobs to `each` after every tick."""

        def work() -> None:
            while True:
                with self._lock:
                    try:
                        jobs = self.tick()
                    except InputError as error:  # a full disk or a read-only folder: it may pass
                        log.warning("The queue waits: %s", error)
                        jobs = self.jobs()
                    busy = any(job.phase in ("waiting", "running") for job in jobs)
                    if not busy:
                        self._keeper = None
                each(jobs)
                if not busy:
                    return
                time.sleep(every)

        with self._lock:
            if self._keeper is None:
                self._keeper = threading.Thread(target=work, name="jobs", daemon=True)
                self._keeper.start()

    # Inside

    def _jobs(self) -> list[Job]:
        if not self.folder.is_dir():
            return []
        found = [self._read(path) for path in self.folder.iterdir() if _ID.fullmatch(path.name)]
        return sorted((job for job in found if job is not None), key=lambda job: (job.created, job.id))

    def _read(self, folder: Path) -> Job | None:
        """The job of a folder as it stands now: one whose process is gone has ended."""
        table = read_json(folder / _FILE)
        if table is None:
            return None
        try:
            job = Job.from_json(folder, table)
        except (ValueError, KeyError, TypeError):
            return None
        if job.phase != "running" or self._alive(job):
            return job
        end, said = read_json(folder / "exit.json") or {}, _text(folder / "stderr.txt")
        answered = read_json(folder / "stdout.json") is not None
        phase, reason = ending(job.wish, end.get("code"), said, answered)
        ended = replace(job, phase=phase, reason=reason, ended=end.get("ended", time.time()), process=None)
        with contextlib.suppress(InputError):  # a full disk: it is found out again at the next look
            self._write(ended)
        return ended

    def _alive(self, job: Job) -> bool:
        """Whether the watching process or, should that have been killed, the command itself still runs."""
        own = Process.from_json(read_json(job.folder / "process.json"))
        return any(process is not None and process.alive() for process in (job.process, own))

    def _start(self, job: Job) -> None:
        for left in ("exit.json", "process.json", "stdout.json", "stderr.txt"):
            (job.folder / left).unlink(missing_ok=True)
        watch = [sys.executable, "-m", "ssa_me.jobs.watch", str(job.folder), "--"]
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        job = self._write(
            replace(job, phase="running", wish=None, reason="", started=time.time(), process=None)
        )
        try:
            started = subprocess.Popen(
                [*watch, *self._program, *job.command()],
                cwd=job.folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            reason = f"It could not be started: {error.strerror}."
            self._write(replace(job, phase="failed", reason=reason, ended=time.time()))
            return
        threading.Thread(target=started.wait, name=f"job {job.id}", daemon=True).start()  # no zombies
        process = Process.of(started.pid) or Process(started.pid, time.time())
        self._write(replace(job, process=process))

    def _ask(self, id: object, wish: Wish) -> Job:
        with self._alone():
            job = self.job(id)
            if job.phase in ("waiting", "paused"):
                phase = "paused" if wish == "pause" else "stopped"
                return self._write(replace(job, phase=phase, ended=time.time()))  # type: ignore[arg-type]
            if job.phase != "running":
                raise InputError(f"The job is {job.phase} already.")
            own = Process.from_json(read_json(job.folder / "process.json"))
            again = wish == "stop" and job.wish == "stop"
            asked = self._write(replace(job, wish=wish))
            if again:
                for process in (own, job.process):
                    if process is not None:
                        process.signal(signal.SIGKILL)
            elif job.process is not None and job.process.alive():
                job.process.signal(signal.SIGTERM)
            elif own is not None:
                own.signal(signal.SIGTERM)
            return asked

    def _write(self, job: Job) -> Job:
        try:
            write_json(job.folder / _FILE, job.to_json())
        except OSError as error:
            raise disk_trouble(error, "the state of the job") from error
        return job

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread of one program at a time; where no lock file can be made, threads of this program at least."""
        with self._lock, contextlib.ExitStack() as held:
            if self._depth == 0:
                with contextlib.suppress(OSError):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    lock = held.enter_context((self.folder / ".lock").open("a"))
                    fcntl.flock(lock, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1


def _text(path: Path, most: int = 64_000) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
