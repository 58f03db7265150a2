"""What commands share: their shape, the common options, loading the model, tables. It imports no model at the top."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.embedding import Embedder
    from ssa_me.gallery.store import Gallery

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    """What a command found: `data` for `--json`, `text` for people. done: whether it came to its end."""

    data: Mapping[str, Any]
    text: str
    done: bool = True


def offline(args: Namespace) -> bool:
    """The answer of a command that never needs the network for its data."""
    return False


@dataclass(frozen=True)
class Command:
    """A command: `arguments` adds its options, `run` does the work and reports progress as lines; `online` says
    whether its arguments ask for something from a hub."""

    name: str
    summary: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Progress], Answer]
    online: Callable[[Namespace], bool] = offline


def add_common(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        metavar="DIR|ID",
        help="a checkpoint folder, or a hub's id, downloaded once (default: the mini model)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps … (default: auto)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else there"
    )


def add_salience(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--salience",
        choices=("head", "full"),
        default="head",
        help="what conditions the salience: the light head, or language model and visual expert (default: head)",
    )
    parser.add_argument(
        "--expert",
        default="opencv",
        metavar="NAME",
        help="of the full salience: opencv, clipseg:PATH or grounded-sam:DINO_PATH,SAM_PATH, a path being a folder or "
        "an id on the hub (default: opencv)",
    )


def load_embedder(args: Namespace, progress: Progress, checkpoint: str | None = None) -> SalientEmbedder:
    """The embedder of `--checkpoint`, else of `checkpoint` (the gallery's own), else the mini model."""
    from ssa_me.embedder import SalientEmbedder

    if args.checkpoint is None and checkpoint is not None and not Path(checkpoint).exists():
        raise InputError(
            f"The checkpoint of this gallery is no longer at {checkpoint}. Put it back, or say with --checkpoint "
            "where it is, or which other one to use (then index again with it)."
        )
    wanted = args.checkpoint or checkpoint
    local = Path(wanted).resolve() if wanted is not None and Path(wanted).is_dir() else wanted
    embedder = SalientEmbedder.load(local, args.device, expert=args.expert or "opencv")
    info = embedder.info
    progress(f"{info.name} on {info.device}, {info.precision} ({info.reason})")
    return embedder


def add_against(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--against",
        metavar="DIR|ID",
        help="another checkpoint, whose SSA-ME stands in the baseline's place; a gallery gets its vectors beside its own",
    )


def opposed(args: Namespace, gallery: Gallery, own: SalientEmbedder, progress: Progress) -> Embedder:
    """`own`, or where `--against` names a checkpoint, both as one; the gallery is embedded with that where it lacks it."""
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.ingest import ingest
    from ssa_me.gallery.items import Spaces
    from ssa_me.opposed import Opposed

    if args.against is None:
        return own
    other = SalientEmbedder.load(args.against, args.device)
    if other.info.fingerprints == own.info.fingerprints:
        raise InputError("--against names the same model as the gallery's own. Give another checkpoint.")
    if gallery.lacking(Spaces(other.info.fingerprints)):
        ingest(gallery, [], other, adopt=False, progress=lambda now: progress(str(now)))
    return Opposed(other, own, (_titled(other), _titled(own)))


def _titled(embedder: SalientEmbedder) -> str:
    return f"{embedder.info.name} ({embedder.info.fingerprints['ssa-me']})"


def every_tenth(progress: Progress, what: str) -> Callable[[int, int], None]:
    """A callback of (done, total) that reports a line at every tenth of the work."""

    def report(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            progress(f"{done:,} of {total:,} {what}")

    return report


@contextmanager
def image_folder(source: Path) -> Iterator[Path]:
    """`source` where it is a folder; a zip is unpacked into a temporary one of its name, which is gone afterwards."""
    if source.suffix.lower() != ".zip" or source.is_dir():
        yield source
        return
    if not source.is_file():
        raise InputError(f"{source} does not exist. Give a folder of images or a zip of one.")
    from ssa_me.archives import unpack

    with TemporaryDirectory(prefix="ssa-me-") as folder:
        unpacked = Path(folder) / source.stem
        unpack(source, unpacked)
        yield unpacked


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Rows as aligned columns: numbers to the right (fractions with three digits), `None` as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(header))]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(header)]
    lines = [list(header), *cells]
    aligned = (
        "  ".join(
            text.rjust(w) if right else text.ljust(w)
            for text, w, right in zip(line, widths, numeric, strict=True)
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned)


def listing(rows: Sequence[Sequence[object]], header: Sequence[str], most: int = 20) -> str:
    """A table of the first rows, and how many more there are (`--json` gives them all)."""
    more = f"\n… and {len(rows) - most:,} more (--json lists all)" if len(rows) > most else ""
    return table(rows[:most], header) + more


def shortened(text: str, most: int = 60) -> str:
    """`text` in at most `most` characters, so that a long one does not flood a table."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval_text(difference: Mapping[str, Any]) -> str:
    """`+0.021 [-0.003, +0.045]` of a difference with its interval."""
    low, high = difference["interval"]
    return f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
