"""Fetches MMEB's evaluation set from the hub: its tables, and its images unpacked. It reads none of them.

Everything goes below one folder and is not fetched again: a download that was stopped goes on, and `images` appears whole
or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ssa_me.archives import Limits, unpack
from ssa_me.errors import InputError
from ssa_me.evaluation.encode import Progress, silent
from ssa_me.mmeb_subsets import SUBSETS, canonical

REPOSITORY = "TIGER-Lab/MMEB-eval"
IMAGES = "images.zip"
LIMITS = Limits(entries=2_000_000, total_bytes=200 * 2**30)
"""Some hundred thousand images: more than a stranger's zip may hold, still less than a disk."""


def fetch(folder: Path, names: Sequence[str] | None = None, progress: Progress = silent) -> Path:
    """Download the subsets `names` (None: all 36) and the images into `folder`, what is there already excepted.

    Returns `folder`, which `read_subsets` takes. Raises InputError for an unknown subset, without pyarrow, and where
    something is missing and cannot be fetched.
    """
    chosen = [canonical(name) for name in names] if names else list(SUBSETS)
    unknown = [name for name in chosen if name not in SUBSETS]
    if unknown:
        raise InputError(f"MMEB has no subset {', '.join(unknown)}. It has {', '.join(SUBSETS)}.")
    if find_spec("pyarrow") is None:
        raise InputError(
            "MMEB's tables are parquet files, and reading them needs pyarrow: pip install pyarrow."
        )
    for number, name in enumerate(chosen, start=1):
        file = f"{name}/test-00000-of-00001.parquet"
        if not (folder / file).is_file():
            progress(f"fetching {name}, {number} of {len(chosen)} subsets")
            download(folder, file)
    if not (folder / "images").is_dir():
        progress(f"fetching {IMAGES}: many gigabytes, once")
        archive = download(folder, IMAGES)

        def tell(done: int, total: int) -> None:
            if done % max(1, total // 20) == 0:
                progress(f"{done:,} of {total:,} images unpacked")

        report = unpack(archive, folder / "images", LIMITS, progress=tell)
        progress(f"{len(report.files):,} images unpacked, {len(report.skipped):,} entries left out")
        archive.unlink()
    return folder


def download(folder: Path, file: str) -> Path:
    """One file of the data set, at the same path below `folder`. InputError says what is missing and what works."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:
        return Path(hf_hub_download(REPOSITORY, file, repo_type="dataset", local_dir=folder))
    except (OSError, HTTPError) as error:
        reason = (str(error).splitlines() or ["no answer"])[0]
        raise InputError(
            f"{file} of {REPOSITORY} is not in {folder} and cannot be fetched ({reason}). Without a network, give a "
            "local copy with --data DIR; `scenes --mmeb` and `scenes --binding` write tasks that need none."
        ) from error
