"""The benchmark of a real model's shape, run on a small one."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import real_shape


def test_tiny_runs_the_whole_of_it(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["real_shape", "--tiny", "--device", "cpu", "--images", "4", "--repeats", "2"]
    )
    assert real_shape.main() == 0
    text = capsys.readouterr().out
    for said in ("ms a step of 4", "SSA-ME's step ÷ the baseline's", "both", "index", "search", "explain"):
        assert said in text


def test_on_a_cpu_it_says_that_it_needs_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["real_shape", "--device", "cpu"])
    assert real_shape.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "needs a GPU" in line


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_memory_is_told():
    assert real_shape.peak_memory().endswith("GB at most")
