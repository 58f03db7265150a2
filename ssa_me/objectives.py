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
    same (B, B): True where i and j ≠ i mean the same, so that neither is the other's negative.
    """
    count = len(queries)
    logits = queries @ targets.T / temperature
    if same is not None:
        off_diagonal = same & ~torch.eye(count, dtype=torch.bool, device=same.device)
        masked = F.pad(off_diagonal, (0, logits.shape[1] - count))
        logits = logits.masked_fill(masked, float("-inf"))
    labels = torch.arange(count, device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits[:, :count].T, labels)) / 2


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
    phrases: Tensor, subjects: Tensor, temperature: Tensor | float, same: Tensor | None = None
) -> Tensor:
    """L_subject: InfoNCE between phrases e(p_k) (R, D) and subject vectors a_k (R, D) over all subjects of the batch.

    same (R, R): True where two subjects have the same phrase; they are not each other's negatives.
    """
    if len(phrases) == 0:
        return (phrases.sum() + subjects.sum()) * 0.0
    return info_nce(phrases, subjects, temperature, same)


def misalignment(
    phrases: Tensor, subjects: Tensor, image: Tensor, margin: float, same: Tensor | None = None
) -> Tensor:
    """L_mis = relu(m + cos(e(p), a_other) − cos(e(p), a_k)), a_other from another subject of the same image.

    phrases, subjects (R, D); image (R,) the index of each subject's image; same (R, R) True where phrases are equal.
    Mean over all such pairs: a wrong region is punished even where the pair as a whole matches.
    """
    scores = phrases @ subjects.T
    rivals = image[:, None] == image[None]
    rivals = rivals & ~torch.eye(len(image), dtype=torch.bool, device=image.device)
    if same is not None:
        rivals = rivals & ~same
    if not rivals.any():
        return scores.sum() * 0.0
    return F.relu(margin + scores - scores.diagonal()[:, None])[rivals].mean()


def salience_bce(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """L_head: binary cross-entropy of the head's logits (B, N) to salience (B, N) in [0, 1], mean over real tokens."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return (loss * valid).sum() / valid.sum().clamp(min=1)
