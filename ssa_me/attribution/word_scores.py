"""The score that is attributed, as a function of the text's words.

SSA-ME composes the subjects that a text names into its vector, each of them read alone: a word is then read more than once,
and its contribution is that of all its readings. The image is embedded once, outside of every graph. What else holds of
scores is said in `scores.py`.

B examples, S readings (the text, then what it names), T tokens of the longest of them, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ssa_me.attribution.scores import Held, weighed
from ssa_me.attribution.watching import Watch
from ssa_me.checkpoint import SSA_ME
from ssa_me.composition import Spoken
from ssa_me.passes import compose_texts


class WordScores:
    """F as a function of the text's words, the image being fixed, with what SSA-ME makes of it.

    text: as the model reads it. readings: the text, then the subjects that it names, where SSA-ME composes them. states
    (1, S, T, D): their tokens' embeddings. absent (1, S, T, D): the same with every token of a reading replaced, those of
    the prompt and the end kept. words: (start, end) of each word among the characters of `text`. labels (S, T): the word
    of each token, −1 for the prompt's. filler: what stands for an absent word, for people.
    """

    def __init__(
        self, held: Held, image: Image.Image, text: str, weights: Mapping[str, float], watch: Watch
    ) -> None:
        self._held, self._weights, self._watch = held, dict(weights), watch
        self._versions = list(weights)
        with held() as passes, torch.no_grad():
            backbone = passes.backbone
            visual = backbone.vision_pass([image])
            found = passes.salience(visual, [image], [None]) if SSA_ME in weights else None
            outputs = passes.read([""], visual, found, self._versions)
            self._seen = passes.image_vectors(outputs, visual, found)
            self.text, _, spans = backbone.text_spans(text)
            self.words, first = words_of(self.text, spans)
            # of the baseline too, so that both versions' random draws are the same
            self._named = Spoken.of([self.text]) if passes.distilled else None
            self.readings = [*self._named.readings] if self._named else [self.text]
            ids, _ = backbone.tokenize(self.readings)
            embeddings = backbone.model.get_input_embeddings()
            self.states = embeddings(ids).float()[None]
            self.labels = np.full(ids.shape, -1)
            for row, reading in enumerate(self.readings):
                _, start, spans = backbone.text_spans(reading)
                own = first if row == 0 else self._words_in(reading, spans)
                self.labels[row, start : start + len(spans)] = own
            tokens = torch.from_numpy(self.labels >= 0).to(backbone.device)
            filler, self.filler = _filler(backbone.tokenizer, embeddings, self.states[0, tokens])
            self.absent = torch.where(tokens[..., None], filler, self.states)

    def of_states(self, states: Tensor) -> Tensor:
        """(B,) of embeddings (B, S, T, D), with the gradient."""
        self._watch.tick(len(states))
        count, readings = states.shape[:2]
        rows = states.flatten(0, 1).repeat(len(self._versions), 1, 1)
        with self._held() as passes:
            with (
                passes.adapters.mixed(self._versions, count * readings),
                passes.backbone.embeddings_replaced(rows),
            ):
                output = passes.backbone.language_pass(self.readings * (count * len(self._versions)))
            read = output.embedding().unflatten(0, (len(self._versions), count, readings))
            spoken = {v: read[i, :, 0] for i, v in enumerate(self._versions)}
            if SSA_ME in spoken and self._named:
                own = read[self._versions.index(SSA_ME)]
                composed = [compose_texts(passes.parts.composition, rows, self._named) for rows in own]
                spoken[SSA_ME] = torch.cat(composed)
            return weighed(self._weights, spoken, self._seen)

    def of_kept(self, kept: np.ndarray) -> list[float]:
        """B numbers of which words are kept, (B, M) bool."""
        stay = torch.from_numpy(np.where(self.labels >= 0, kept[:, self.labels], True)).to(self.states.device)
        with torch.no_grad():
            scores: list[float] = self.of_states(
                torch.where(stay[..., None], self.states, self.absent)
            ).tolist()
        return scores

    def on_words(self, contributions: Tensor) -> np.ndarray:
        """Contributions (S, T, D) of embeddings summed up for each word: (M,) over all readings."""
        of_tokens = contributions.double().sum(-1).cpu().numpy()
        own = self.labels >= 0
        return np.bincount(self.labels[own], of_tokens[own], len(self.words))

    def _words_in(self, phrase: str, spans: Sequence[tuple[int, int]]) -> list[int]:
        """The word of `text` that each token of a phrase of it belongs to. A phrase is a part of the text with single
        blanks; it is found by its other signs."""
        places = [i for i, sign in enumerate(self.text) if not sign.isspace()]
        bare = "".join(self.text[i] for i in places)
        begin = max(0, bare.find("".join(phrase.split())))
        word_at = {i: n for n, (a, b) in enumerate(self.words) for i in range(a, b)}
        inside = [i for i, sign in enumerate(phrase) if not sign.isspace()]
        own = {i: word_at.get(places[min(begin + n, len(places) - 1)], -1) for n, i in enumerate(inside)}
        found: list[int] = []
        for start, end in spans:
            word = next((own[i] for i in range(start, max(end, start + 1)) if i in own), None)
            found.append(word if word is not None else (found[-1] if found else -1))
        return found


def words_of(text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """The words of `text` that its tokens, at `spans`, reach, each as (start, end), and the word of each token.

    A word is what stands between blanks; in scripts that write none, a sign. A token belongs to the word of its first
    sign that is not blank.
    """
    word_at, number = [-1] * len(text), -1
    starts: list[int] = []
    before = " "
    for i, sign in enumerate(text):
        if not sign.isspace():
            if before.isspace() or _unspaced(sign) or _unspaced(before):
                number += 1
                starts.append(i)
            word_at[i] = number
        before = sign
    of_tokens: list[int] = []
    for start, end in spans:
        own = next(
            (word_at[i] for i in range(start, max(end, start + 1)) if i < len(text) and word_at[i] >= 0), None
        )
        of_tokens.append(own if own is not None else (of_tokens[-1] if of_tokens else 0))
    reached = sorted(set(of_tokens))
    ends = {n: max(i for i in range(len(text)) if word_at[i] == n) + 1 for n in reached}
    return [(starts[n], ends[n]) for n in reached], [reached.index(n) for n in of_tokens]


def _unspaced(sign: str) -> bool:
    """Whether it is of a script that sets no blanks between words: Chinese, Japanese, Thai, Lao, Khmer."""
    return (
        "\u3040" <= sign <= "\u30ff"
        or "\u3400" <= sign <= "\u9fff"
        or "\uf900" <= sign <= "\ufaff"
        or "\u0e00" <= sign <= "\u0eff"
        or "\u1780" <= sign <= "\u17ff"
    )


def _filler(tokenizer: Any, embeddings: nn.Module, own: Tensor) -> tuple[Tensor, str]:
    """What stands for an absent token, (D,), and its name: the padding token's embedding, or the mean embedding where
    that one is all but zero, from where gradients would not add up. own (T, D): embeddings of the text's tokens."""
    weight = embeddings.weight
    assert isinstance(weight, Tensor)
    pad = tokenizer.pad_token_id
    usual = own.norm(dim=-1).median() if len(own) else weight.float().norm(dim=-1).median()
    if pad is not None and weight[pad].float().norm() >= 0.2 * usual:
        return weight[pad].float(), "the padding token"
    return weight.float().mean(0), "the mean of all tokens' embeddings"
