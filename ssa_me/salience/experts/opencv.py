"""The expert without weights: spectral residual and GrabCut by OpenCV, and colour words. Knows no tokens or models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ssa_me.salience.experts.protocol import VisualExpert, colour_similarity, colour_words, fit

_SPECTRUM = 64  # side of the square that the spectral residual works on, in pixels, as in the paper
_CLEAR_CONTRAST = 15.0  # distance in CIE Lab at which a thing stands out from its surroundings by 1 - 1/e
_GMM = 5  # Gaussians in each of GrabCut's two colour models; OpenCV's constant


@dataclass(frozen=True)
class OpenCVExpert(VisualExpert):
    """Spectral residual (Hou & Zhang, CVPR 2007) that seeds GrabCut (Rother et al., SIGGRAPH 2004). No weights.

    It is blind to phrases but for one thing: English colour words weigh the map by how near each place is to the
    named colour ("a person in red": what stands out and is red). All other words are ignored, so phrases without a
    colour share one map. The outcome depends on nothing but image, phrases and `longest`: GrabCut starts from colour
    models made here, so OpenCV's random numbers are never drawn.
    """

    longest: int = 96  # longer side, in pixels, at which it works; also the longer side of its maps

    @property
    def version(self) -> str:
        return f"opencv-1-{self.longest}"

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [self._of(image, named) for image, named in zip(images, phrases, strict=True)]

    def _of(self, image: Image.Image, phrases: Sequence[str]) -> np.ndarray:
        rgb = _shrink(image, self.longest)
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        subjects = salient_subjects(rgb, lab) if phrases else np.zeros(lab.shape[:2], np.float32)
        maps = [
            subjects * colour_similarity(lab, words) if (words := colour_words(p)) else subjects
            for p in phrases
        ]
        return np.stack(maps).astype(np.float32) if maps else np.zeros((0, *lab.shape[:2]), np.float32)


def spectral_residual(channel: np.ndarray) -> np.ndarray:
    """Saliency `(64, 64)` of one square channel `(64, 64)` by its spectral residual, float64; its mean is 1.

    The logarithm of the amplitude less its local average, with the phase kept, is transformed back, squared and
    smoothed (Hou & Zhang, CVPR 2007). The result does not depend on the channel's contrast; a flat one gives zeros.
    """
    centred = channel.astype(np.float64) - channel.mean(dtype=np.float64)
    if np.ptp(centred) < 1e-4:
        return np.zeros_like(centred)
    spectrum = cv2.dft(centred, flags=cv2.DFT_COMPLEX_OUTPUT)
    amplitude = cv2.magnitude(spectrum[..., 0], spectrum[..., 1])
    log = np.log(amplitude + 1e-6 * amplitude.max())
    residual = np.exp(log - cv2.blur(log, (3, 3), borderType=cv2.BORDER_REPLICATE)) / np.maximum(
        amplitude, 1e-12
    )
    back = cv2.idft(spectrum * residual[..., None], flags=cv2.DFT_COMPLEX_OUTPUT)
    saliency = cv2.GaussianBlur(back[..., 0] ** 2 + back[..., 1] ** 2, (0, 0), 2.5)
    return np.asarray(saliency / saliency.mean())


def salient_subjects(rgb: np.ndarray, lab: np.ndarray) -> np.ndarray:
    """What stands out of an image `(H, W, 3)`, given as RGB uint8 and CIE Lab float32: `(H, W)` float32 in [0, 1].

    Prominence is absolute contrast in colour, with the surroundings and with the image's border, where the spectral
    residual is high, weighed towards the middle, where photographs hold their subjects. GrabCut grows the most
    prominent places to whole subjects. The map is the mean of prominence and of each grown subject's own contrast with
    the ring around it, so that a failed cut leaves half of the evidence.
    """
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.5)
    contrast = (_standing_out(_from_border(smooth)) + _standing_out(_from_surroundings(smooth))) / 2
    prominence = cv2.GaussianBlur(
        contrast * _middle(lab) * (0.4 + 0.6 * np.minimum(_rarity(lab), 2) / 2), (0, 0), 2
    )
    if float(prominence.max()) < 0.05:
        return np.zeros_like(prominence)
    foreground = _grab_cut(rgb, prominence)
    salience = np.zeros_like(prominence)
    count, labels = cv2.connectedComponents(foreground.astype(np.uint8))
    for component in (labels == label for label in range(1, count)):
        ring = cv2.dilate(component.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~foreground
        if component.sum() >= 6 and ring.any():
            distance = np.linalg.norm(lab[component].mean(0) - lab[ring].mean(0))
            salience[component] = _standing_out(distance) * np.sqrt(_middle(lab)[component].mean())
    return np.clip((cv2.GaussianBlur(salience, (0, 0), 1) + prominence) / 2, 0, 1)


def _standing_out(distance: np.ndarray | np.floating[Any]) -> np.ndarray:
    return np.asarray(1 - np.exp(-distance / _CLEAR_CONTRAST), np.float32)


def _from_border(lab: np.ndarray) -> np.ndarray:
    """The distance in colour to the nearest of five colours of the border, a strip of a sixteenth of the image."""
    strip = np.ones(lab.shape[:2], bool)
    edge = max(1, min(strip.shape) // 16)
    strip[edge:-edge, edge:-edge] = False
    means = np.array([part.mean(0) for part in _parts(lab[strip])], np.float32)
    return np.asarray(np.linalg.norm(lab[:, :, None] - means, axis=-1).min(-1))


def _from_surroundings(lab: np.ndarray) -> np.ndarray:
    """The distance in colour to the mean of a neighbourhood as wide as half of the longer side."""
    side = max(lab.shape[:2]) // 4 * 2 + 1
    return np.asarray(
        np.linalg.norm(lab - cv2.blur(lab, (side, side), borderType=cv2.BORDER_REFLECT), axis=-1)
    )


def _middle(lab: np.ndarray) -> np.ndarray:
    """A broad bell over the image: 1 in the middle, 0.37 at the middle of an edge, 0.14 in a corner."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) ** 2 for n in lab.shape[:2])
    return np.asarray(np.exp(-(y[:, None] + x)))


def _rarity(lab: np.ndarray) -> np.ndarray:
    """Spectral residual of lightness and both colour opponents, weighed by how much each varies. Mean about 1.

    Rounded, so that the last digits of a Fourier transform, which hang on memory alignment, decide nothing later on.
    """
    square = cv2.resize(lab, (_SPECTRUM, _SPECTRUM), interpolation=cv2.INTER_AREA).astype(np.float64)
    spread = square.std(axis=(0, 1)) + 1e-6
    mixed = sum(w * spectral_residual(square[..., c]) for c, w in enumerate(spread / spread.sum()))
    rarity = cv2.resize(np.asarray(mixed), lab.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(rarity.round(6), np.float32)


def _grab_cut(rgb: np.ndarray, prominence: np.ndarray, rounds: int = 2) -> np.ndarray:
    """GrabCut's foreground `(H, W)` bool, grown from the most prominent tenth; the dimmest third stays background."""
    low, middle, high = np.quantile(prominence, (0.35, 0.75, 0.9))
    labels = np.where(prominence > middle, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[prominence <= low] = cv2.GC_BGD
    background, foreground = _colour_model(rgb[prominence <= middle]), _colour_model(rgb[prominence >= high])
    cv2.grabCut(rgb, labels, (0, 0, 0, 0), background, foreground, rounds, cv2.GC_EVAL)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _colour_model(pixels: np.ndarray) -> np.ndarray:
    """A Gaussian mixture over `pixels` `(n, 3)` in the layout of cv2.grabCut: `(1, 65)` = weights, means, covariances."""
    parts = _parts(pixels.astype(np.float64))
    weights = [len(part) / len(pixels) for part in parts]
    means = [part.mean(0) for part in parts]
    covariances = [np.cov(part, rowvar=False, bias=True) + np.eye(3) for part in parts]
    return np.concatenate([weights, np.ravel(means), np.ravel(covariances)])[None]


def _parts(colours: np.ndarray) -> list[np.ndarray]:
    """`colours` `(n, 3)` with n >= 5, sorted along their main axis and cut into five parts of equal size."""
    _, axes = np.linalg.eigh(np.cov(colours, rowvar=False))
    return np.array_split(colours[np.argsort(colours @ axes[:, -1], kind="stable")], _GMM)


def _shrink(image: Image.Image, longest: int) -> np.ndarray:
    """RGB uint8 with its longer side at most `longest`; sides shorter than 16 px are enlarged to that."""
    width, height = fit(image.width, image.height, longest)
    size = max(16, width), max(16, height)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX, reducing_gap=2.0))
