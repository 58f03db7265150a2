"""What MMEB says about its 36 image subsets: meta-task, in or out of distribution, instructions. It reads no data.

Sources: Jiang et al., "VLM2Vec", 2024 (arXiv 2410.05160), and TIGER-AI-Lab/VLM2Vec. A folder of other data may say the
same of its own subsets in `subsets.json`: `{SUBSET: {"meta_task": ..., "in_distribution": true | false | null}}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError

INFOS = "subsets.json"


@dataclass(frozen=True)
class SubsetInfo:
    """What is known of a subset; in_distribution is None where that means nothing.

    The instructions stand in where a query or a candidate has an image and no text; MMEB's own rows carry theirs.
    """

    meta_task: str | None = None
    in_distribution: bool | None = None
    instruction: str | None = None
    target_instruction: str | None = None


def _classification(inside: bool, instruction: str) -> SubsetInfo:
    return SubsetInfo("Classification", inside, instruction)


def _question(inside: bool) -> SubsetInfo:
    return SubsetInfo("VQA", inside, "Represent the given image with the following question:")


def _retrieval(inside: bool, instruction: str, target: str | None = None) -> SubsetInfo:
    return SubsetInfo("Retrieval", inside, instruction, target)


def _grounding(inside: bool, instruction: str) -> SubsetInfo:
    return SubsetInfo("Grounding", inside, instruction, "Represent the given cropped image of the object.")


_CLASSIFY = "Represent the given image for classification."
_SCENE = "Identify the scene shown in the image."
_OBJECT = "Identify the object shown in the image."
_IMAGE = "Represent the given image."
_WITH_TEXT = "Represent the given Wikipedia image with related text information."

SUBSETS: dict[str, SubsetInfo] = {
    "ImageNet-1K": _classification(True, _CLASSIFY),
    "N24News": _classification(
        True, "Represent the given news image with the following caption for domain classification."
    ),
    "HatefulMemes": _classification(
        True,
        "Represent the given image for binary classification to determine whether it constitutes hateful speech.",
    ),
    "VOC2007": _classification(True, _OBJECT),
    "SUN397": _classification(True, _SCENE),
    "Place365": _classification(False, _SCENE),
    "ImageNet-A": _classification(False, _CLASSIFY),
    "ImageNet-R": _classification(False, _CLASSIFY),
    "ObjectNet": _classification(False, _OBJECT),
    "Country211": _classification(False, "Identify the country depicted in the image."),
    "OK-VQA": _question(True),
    "A-OKVQA": _question(True),
    "DocVQA": _question(True),
    "InfographicsVQA": _question(True),
    "ChartQA": _question(True),
    "Visual7W": _question(True),
    "ScienceQA": _question(False),
    "VizWiz": _question(False),
    "GQA": _question(False),
    "TextVQA": _question(False),
    "VisDial": _retrieval(
        True, "Represent the given dialogue about an image, which is used for image retrieval:", _IMAGE
    ),
    "CIRR": _retrieval(
        True, "Given an image, find a similar everyday image with the described changes:", _IMAGE
    ),
    "VisualNews_t2i": _retrieval(True, "Retrieve an image of this news caption.", _IMAGE),
    "VisualNews_i2t": _retrieval(True, "Find a caption for the news in the given photo."),
    "MSCOCO_t2i": _retrieval(True, "Find me an everyday image that matches the given caption:", _IMAGE),
    "MSCOCO_i2t": _retrieval(True, "Find an image caption describing the given everyday image."),
    "NIGHTS": _retrieval(True, "Find a day-to-day image that looks similar to the provided image.", _IMAGE),
    "WebQA": _retrieval(True, "Find a Wikipedia image that answers this question:", _WITH_TEXT),
    "FashionIQ": _retrieval(False, "Find an image to match the fashion image and style note:", _IMAGE),
    "Wiki-SS-NQ": _retrieval(
        False,
        "Find the document image that can answer the given query:",
        _IMAGE,
    ),
    "OVEN": _retrieval(
        False,
        "Retrieve a Wikipedia image-description pair that provides evidence for the question of this image:",
        _WITH_TEXT,
    ),
    "EDIS": _retrieval(
        False,
        "Find a news image that matches the provided caption:",
        "Represent the given image with related text information.",
    ),
    "MSCOCO": _grounding(True, "Select the portion of the image that isolates the object labeled as"),
    "RefCOCO": _grounding(False, "Select the portion of the image that follows the language expressions:"),
    "RefCOCO-Matching": _grounding(
        False, "Select the identical object in the image that follows the given query."
    ),
    "Visual7W-Pointing": _grounding(False, "Select the portion of the image that answers the question"),
}


def _folded(name: str) -> str:
    return re.sub(r"[-_ ]+", "-", name).casefold()


_SPELT = {_folded(name): name for name in SUBSETS}


def canonical(name: str) -> str:
    """MMEB's evaluation name of a subset in whatever spelling (`ImageNet_1K` of its training set is `ImageNet-1K`);
    another name as it is."""
    return _SPELT.get(_folded(name), name)


def read_infos(data: Path) -> dict[str, SubsetInfo]:
    """What is known of subsets by name: MMEB's table, then what `subsets.json` in `data` says.

    Raises InputError where that file is not valid.
    """
    path = data / INFOS
    if not path.is_file():
        return dict(SUBSETS)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return SUBSETS | {name: _info(entry) for name, entry in dict(table).items()}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}. Correct it, or remove it.") from error


def _info(entry: Mapping[str, Any]) -> SubsetInfo:
    task, inside = entry.get("meta_task"), entry.get("in_distribution")
    if task is not None and not isinstance(task, str):
        raise ValueError(f"meta_task is {task!r}, not a name")
    if inside not in (None, True, False):
        raise ValueError(f"in_distribution is {inside!r}, not true, false or null")
    return SubsetInfo(task, inside)
