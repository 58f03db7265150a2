"""The training objectives, one pure function each. They know tensors only: no models, no data, no optimiser.

L = L_nce + λ_a·L_attn + λ_s·L_subject + λ_m·L_mis + λ_h·L_head. All embeddings are of unit length. Each returns a
scalar; each is 0 (with a gradient of 0) where a batch gives it nothing to say.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    queries: Tensor, targets: Tensor, temperature: Tensor | float, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; Radford et al. 2021): row i of each side belongs to row i of the
    other.

    queries (B, D), targets (B + H, D): rows beyond B are listed hard negatives, seen from the queries' side only.
    same (B, B) or (B, B + H): True where target j ≠ i is also right for query i, so that it is no negative of it.
    """
    count = len(queries)
    logits = queries @ targets.T / temperature
    if same is not None:
        off_diagonal = same & ~torch.eye(*same.shape, dtype=torch.bool, device=same.device)
        masked = F.pad(off_diagonal, (0, logits.shape[1] - same.shape[1]))
        logits = logits.masked_fill(masked, float("-inf"))
    labels = torch.arange(count, device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits[:, :count].T, labels)) / 2


def twin_contrast(
    texts: Tensor, images: Tensor, temperature: Tensor | float, same: Tensor, group: int, asked: Tensor
) -> Tensor:
    """L_twin: InfoNCE of each text that is `asked` (B,) with its image among that image's twins alone, text to image.

    texts, images (B, D): row i of each side belongs to row i of the other, `group` images in turn are twins. same (B, B):
    as for `info_nce`. What differs between twins is who does what, so that this is what binding is worth.
    """
    count = len(texts)
    if not asked.any():
        return texts.sum() * 0.0
    number = torch.arange(count, device=texts.device)
    family = number // group
    others = ((family[:, None] != family[None]) | same) & (number[:, None] != number[None])
    logits = (texts @ images.T / temperature).masked_fill(others, float("-inf"))
    return F.cross_entropy(logits[asked], number[asked])


def attention_alignment(rows: Tensor, regions: Tensor, valid: Tensor) -> Tensor:
    """L_attn: mean over samples and layers of KL(Ŝ ‖ Â_l), both made distributions over the image's tokens.

    rows (B, L, N) attention on image tokens, regions (B, N) ≥ 0, valid (B, N). Samples with an empty region count
    for nothing. After KLAL (arXiv 2511.12738).
    """
    target = regions * valid
    mass = target.sum(-1)
    present = mass > 0
    if not present.any():
        return rows.sum() * 0.0
    target = target[present] / mass[present, None]
    attention = (rows[present] * valid[present, None]).clamp(min=1e-9)
    attention = attention / attention.sum(-1, keepdim=True)
    divergence = torch.special.xlogy(target, target)[:, None] - target[:, None] * attention.log()
    return divergence.sum(-1).mean()


def subject_contrast(
    texts: Tensor, things: Tensor, own: Tensor, true: Tensor, temperature: Tensor | float
) -> Tensor:
    """L_subject: symmetric InfoNCE between texts (M, D), such as phrases e(p_k), and things (T, D), the subject vectors
    a_k and pairs b_kl of the whole batch.

    own (M,): the thing that each text speaks of. true (M, T): of which things it is true; these are no negatives.
    """
    if len(texts) == 0:
        return (texts.sum() + things.sum()) * 0.0
    logits = texts @ things.T / temperature
    rows = torch.arange(len(texts), device=own.device)
    others = true.clone()
    others[rows, own] = False
    forth = F.cross_entropy(logits.masked_fill(others, float("-inf")), own)
    others = true[:, own].T.clone()  # row m: the thing of text m, against all texts
    others.fill_diagonal_(False)
    back = F.cross_entropy(logits[:, own].T.masked_fill(others, float("-inf")), rows)
    return (forth + back) / 2


def binding(phrases: Tensor, things: Tensor, own: Tensor, true: Tensor, hardest: int = 8) -> Tensor:
    """L_bind = (1 − s_t·p_own)² + 2·mean over the `hardest` wrong phrases of |s_t·p_j|, mean over things: codes s (T, D) of
    things and p (P, D) of phrases, own (T,) the phrase that names each, true (T, P) which phrases are true of it.

    It makes codes of different things orthogonal, so that a sum of codes still tells which of them are in it. After the
    spectral contrastive loss (HaoChen et al. 2021), with the wrong phrases that are most alike in place of all.
    """
    if len(things) == 0:
        return (phrases.sum() + things.sum()) * 0.0
    scores = things @ phrases.T
    wrong = scores.abs().masked_fill(true, 0.0)
    most = wrong.topk(min(hardest, len(phrases)), dim=1).values
    return ((1 - scores.gather(1, own[:, None])) ** 2).mean() + 2 * most.mean()


def misalignment(texts: Tensor, things: Tensor, own: Tensor, rivals: Tensor, margin: float) -> Tensor:
    """L_mis = relu(m + cos(e(p), a_other) − cos(e(p), a_k)) for texts (M, D) and things (T, D), own (M,) as above.

    rivals (M, T): things that are wrong for a text, of the *same* image or of one that shows the same words otherwise.
    Mean over all such pairs: a wrong region is punished even where the pair as a whole matches.
    """
    scores = texts @ things.T
    if not rivals.any():
        return scores.sum() * 0.0
    right = scores.gather(1, own[:, None])
    return F.relu(margin + scores - right)[rivals].mean()


def salience_bce(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """L_head: binary cross-entropy of the head's logits (B, N) to salience (B, N) in [0, 1], mean over real tokens."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return (loss * valid).sum() / valid.sum().clamp(min=1)
