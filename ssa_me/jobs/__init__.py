"""Long work in processes of its own: a queue on disk that survives the page and the program that started it.

It knows commands of `python -m ssa_me`, their exit codes and their files; it knows no models, and imports nothing heavy.
"""

from ssa_me.jobs.files import read_json, write_json
from ssa_me.jobs.job import ENDED, Job
from ssa_me.jobs.logs import Curve, TrainingLog, read_log, tail
from ssa_me.jobs.queue import JobQueue

__all__ = ["ENDED", "Curve", "Job", "JobQueue", "TrainingLog", "read_json", "read_log", "tail", "write_json"]
