"""Logs of training runs as they are read for the page."""

from __future__ import annotations

import json
from pathlib import Path

from ssa_me.jobs.logs import read_log, tail, thinned


def write(path: Path, *entries: object) -> Path:
    path.write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries), encoding="utf-8")
    return path


def test_curves_rates_and_where_it_is(tmp_path: Path) -> None:
    common = {"stage": "baseline", "steps": 20, "learning_rate": 0.1, "time": 5.0}
    log = read_log(
        write(
            tmp_path / "log.jsonl",
            common | {"step": 10, "loss": 2.0, "nce": 1.5, "samples_per_s": 30.0, "seconds_left": 4},
            {"stage": "baseline", "step": 10, "steps": 20, "held_out": {"recall@1": 0.25}},
            common | {"step": 20, "loss": 1.0, "nce": 0.5, "samples_per_s": 32.0, "seconds_left": 0},
        )
    )
    curves = {(c.stage, c.name): c.points for c in log.losses}
    assert curves == {
        ("baseline", "loss"): ((10, 2.0), (20, 1.0)),
        ("baseline", "nce"): ((10, 1.5), (20, 0.5)),
    }
    assert [(c.stage, c.name, c.points) for c in log.held_out] == [("baseline", "recall@1", ((10, 0.25),))]
    assert (log.stage, log.step, log.steps, log.seconds_left) == ("baseline", 20, 20, 0)
    assert log.rates == {"baseline": 32.0}


def test_after_a_resume_a_step_counts_as_the_last_time(tmp_path: Path) -> None:
    steps = [
        {"stage": "s", "step": n, "loss": loss, "samples_per_s": 1.0} for n, loss in [(10, 5.0), (20, 4.0)]
    ]
    again = [{"stage": "s", "step": 20, "loss": 3.0, "samples_per_s": 1.0}]
    (curve,) = read_log(write(tmp_path / "log.jsonl", *steps, *again)).losses
    assert curve.points == ((10, 5.0), (20, 3.0))


def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl",
        '{"stage": "s", "step": 1, "loss": NaN, "samples_per_s": 2.0}',
        "[]",
        '{"stage": "s"}',
        '{"stage": "s", "step": 2, "loss": 1.0, "samp',
    )
    log = read_log(path)
    assert log.losses == () and log.step == 1
    assert read_log(tmp_path / "nowhere").stage is None


def test_many_points_are_thinned_to_the_last() -> None:
    kept = thinned([(n, float(n)) for n in range(1001)], 240)
    assert len(kept) <= 240 and kept[-1] == (1000, 1000.0)
    assert thinned([]) == () and thinned([(3, 1.0)]) == ((3, 1.0),)


def test_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "stderr.txt"
    path.write_text("".join(f"line {n}\n" for n in range(100)))
    assert tail(path, 3) == ["line 97", "line 98", "line 99"]
    assert tail(tmp_path / "nowhere") == []
