import threading

from app.jobs import CALM, Job, JobState
from ssa_me.errors import InputError


def test_a_job_reports_and_ends() -> None:
    go = threading.Event()

    def work(job: Job) -> JobState:
        job.report("half way", 0.5)
        go.wait(5)
        return JobState("done", "made", 1.0, {"added": 3})

    job = Job("x", work).start()
    while job.state.fraction is None:
        pass
    assert (job.running, job.state.message, job.state.fraction) == (True, "half way", 0.5)
    go.set()
    assert job.wait(5) == JobState("done", "made", 1.0, {"added": 3})
    assert not job.running


def test_cancelling_reaches_the_work() -> None:
    def work(job: Job) -> JobState:
        while not job.cancelled():
            pass
        return JobState("cancelled", "stopped")

    job = Job("x", work).start()
    job.cancel()
    assert job.wait(5).phase == "cancelled"


def test_bad_input_is_a_sentence_and_a_bug_is_a_calm_one() -> None:
    def bad(job: Job) -> JobState:
        raise InputError("The zip is empty. Give another.")

    def bug(job: Job) -> JobState:
        raise KeyError("secret path /home/x")

    assert Job("x", bad).start().wait(5) == JobState("failed", "The zip is empty. Give another.")
    assert Job("x", bug).start().wait(5) == JobState("failed", CALM)
