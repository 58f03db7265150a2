"""Greedy answers: equal to a loop without a cache, the same in a batch and alone, in each checkpoint's own format."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ssa_me.backbone import Backbone
from ssa_me.generation import answer, answers
from ssa_me.salience.prompts import DESCRIBE, LIST_OF_IMAGE, list_prompt

KINDS = ["qwen2_vl", "qwen2_vl-chat", "qwen3_vl-chat"]


@pytest.fixture(scope="module", params=KINDS)
def backbone(request, checkpoint_of):
    return Backbone.load(checkpoint_of(request.param), torch.device("cpu"), torch.float32)


def slowly(backbone: Backbone, prompt: str, visual, most: int) -> str:
    """Without a cache or padding: the whole sequence again for every token."""
    chat = bool(backbone.tokenizer.chat_template)
    ids, _ = backbone.tokenize([prompt], visual.counts() if visual is not None else None)
    ids = ids if chat else ids[:, :-1]
    start = ids.shape[1]
    with torch.inference_mode():
        while ids.shape[1] - start < most:
            logits = backbone.model(**backbone.inputs(ids, torch.ones_like(ids), visual)).logits[0, -1]
            token = int(logits.argmax())
            if token == backbone.tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return backbone.tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip()


def test_an_answer_is_the_most_likely_token_after_token(backbone, picture):
    visual = backbone.vision_pass([picture(64, 48)])
    assert answer(backbone, [LIST_OF_IMAGE], visual, 8) == [slowly(backbone, LIST_OF_IMAGE, visual, 8)]
    text = list_prompt("a red bird and a house")
    assert answer(backbone, [text], None, 8) == [slowly(backbone, text, None, 8)]
    assert slowly(backbone, text, None, 8)


def test_a_batch_is_the_same_as_one_by_one(backbone, picture):
    prompts = [
        DESCRIBE,
        list_prompt("a red bird"),
        LIST_OF_IMAGE,
        list_prompt("a house and a tree on the right of it"),
    ]
    images = [picture(64, 48, seed=1), None, picture(40, 64, seed=2), None]
    together = answers(backbone, prompts, images, most=8)
    alone = [answers(backbone, [p], [i], most=8)[0] for p, i in zip(prompts, images, strict=True)]
    assert together == alone
    assert len(set(together)) > 1


def test_generation_leaves_no_trace_in_the_other_passes(backbone, picture):
    with torch.inference_mode():
        before = backbone.language_pass(["a red bird"]).last
        answers(backbone, [DESCRIBE, DESCRIBE], [picture(), picture(48, 64)], most=4)
        torch.testing.assert_close(backbone.language_pass(["a red bird"]).last, before)


def test_memory_that_runs_out_halves_the_batch(backbone, picture, monkeypatch):
    from ssa_me import generation

    sizes = []

    def small_memory(backbone, prompts, visual, most):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [prompts[0].upper()]

    monkeypatch.setattr(generation, "answer", small_memory)
    assert generation.answers(backbone, ["a", "b", "c"], [picture(), None, picture()]) == ["A", "B", "C"]
    assert sizes == [2, 1, 1, 1]


def test_a_checkpoint_without_a_head_answers_nothing(backbone, picture, monkeypatch):
    monkeypatch.setattr(backbone, "reading", replace(backbone.reading, headless=True))
    assert answers(backbone, ["a", "b"], [picture(), None]) == ["", ""]


def test_nothing_is_asked_of_nothing(backbone):
    assert answers(backbone, [], []) == []
