"""`versions`: the named versions of a workspace: list, compare, use, export, import, delete, push to a hub."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Answer, Command, Progress, interval_text, listing, table
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.shelf import Shelf

ACTIONS = {
    "list": "",
    "use": "VERSION",
    "compare": "BEFORE AFTER --data DIR",
    "export": "VERSION --out DIR|FILE.zip",
    "import": "DIR|FILE.zip [--name NAME]",
    "delete": "VERSION",
    "push": "VERSION OWNER/NAME [--share]",
}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=ACTIONS, help="; ".join(f"{name} {rest}".strip() for name, rest in ACTIONS.items())
    )
    parser.add_argument(
        "names", nargs="*", metavar="VERSION", help="an id, a name, base, or a checkpoint folder"
    )
    parser.add_argument(
        "--workspace",
        type=Path,
        default=Path("workspace"),
        help="where versions are kept (default: workspace)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="of compare: an ImageFolder; test, else val, else all"
    )
    parser.add_argument("--out", type=Path, metavar="DIR|FILE.zip", help="of export")
    parser.add_argument("--name", help="of import: what the version is called (default: the file's name)")
    parser.add_argument(
        "--share", action="store_true", help="of push: for everyone to see (default: private)"
    )


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.checkpoint import MINI
    from ssa_me.hub import locate
    from ssa_me.shelf import Shelf

    wanted = _names_wanted(args.action)
    if len(args.names) != wanted:
        raise InputError(f"Usage: versions {args.action} {ACTIONS[args.action]}".rstrip() + ".")
    base = locate(args.checkpoint) if args.checkpoint else MINI
    return _DO[args.action](args, Shelf(args.workspace / "versions", base), progress)


def _names_wanted(action: str) -> int:
    return {"list": 0, "compare": 2, "push": 2}.get(action, 1)


def _list(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    versions, used = shelf.versions(), shelf.in_use()
    rows = [
        ("→" if one.id == used else "", one.id, one.name, one.origin, one.fingerprints.get("ssa-me", "–"))
        for one in versions
    ]
    data = {"versions": [one.to_json() for one in versions], "in_use": used}
    return Answer(data, listing(rows, ["", "id", "name", "origin", "SSA-ME's fingerprint"]))


def _use(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    version = shelf.use(_find(shelf, args.names[0]))
    return Answer({"in_use": version.id}, f"{version.name} is in use from the page's next start on.")


def _compare(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.shelf.comparison import before_after

    if args.data is None:
        raise InputError("There is nothing to compare on. Give --data DIR.")

    def loading(folder: Path) -> Callable[[], SalientEmbedder]:
        return lambda: SalientEmbedder.load(folder, args.device)

    before, after = (_folder(shelf, name) for name in args.names)
    found = before_after(loading(before), loading(after), args.data, progress=progress)
    rows = [
        (version, measure, interval_text(gap))
        for version, gaps in found["difference"].items()
        for measure, gap in gaps.items()
    ]
    told = f"{found['queries']} queries on {found['images']} images; after less before, 95 % intervals\n"
    return Answer(found, told + table(rows, ["version", "measure", "difference"]))


def _export(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    from ssa_me.shelf import export_folder, export_zip

    if args.out is None:
        raise InputError("Say where to: --out DIR, or --out FILE.zip.")
    checkpoint = _folder(shelf, args.names[0])
    if args.out.suffix == ".zip":
        export_zip(checkpoint, args.out, args.out.stem)
    else:
        export_folder(checkpoint, args.out)
    return Answer({"out": str(args.out)}, f"{args.out}")


def _import(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    from ssa_me.shelf import import_checkpoint

    source = Path(args.names[0])
    if not source.exists():
        raise InputError(f"{source} does not exist. Give a zip or the folder of a checkpoint.")
    version = shelf.add(
        args.name or source.stem, lambda out: import_checkpoint(source, out), origin="imported"
    )
    return Answer(version.to_json(), f"{version.id}  {version.name}")


def _delete(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    version = shelf.version(_find(shelf, args.names[0]))
    shelf.delete(version.id)
    return Answer({"deleted": version.id}, f"{version.name} is deleted.")


def _push(args: Namespace, shelf: Shelf, progress: Progress) -> Answer:
    from ssa_me.shelf.exchange import push

    address = push(_folder(shelf, args.names[0]), args.names[1], private=not args.share)
    return Answer({"address": address}, address)


def _find(shelf: Shelf, name: str) -> str:
    """The id of a version by its id or its name."""
    known = shelf.versions()
    found = next((one.id for one in known if name in (one.id, one.name)), None)
    if found is None:
        raise InputError(f"There is no version {name!r}. There are: {', '.join(one.name for one in known)}.")
    return found


def _folder(shelf: Shelf, name: str) -> Path:
    """The checkpoint of a version, or a folder that holds one."""
    if (Path(name) / "config.json").is_file():
        return Path(name)
    return shelf.version(_find(shelf, name)).checkpoint


def _online(args: Namespace) -> bool:
    return bool(args.action == "push")


_DO: dict[str, Callable[[Namespace, Any, Progress], Answer]] = {
    "list": _list,
    "use": _use,
    "compare": _compare,
    "export": _export,
    "import": _import,
    "delete": _delete,
    "push": _push,
}
COMMAND = Command("versions", "list, compare, export and import trained versions", _arguments, _run, _online)
