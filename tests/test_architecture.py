"""The house's rules, read from the source: imports run downwards, the library knows no page, no probing, no prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"ssa_me.errors"}),
    frozenset(
        {
            "ssa_me.samples",
            "ssa_me.images",
            "ssa_me.devices",
            "ssa_me.attention",
            "ssa_me.tables",
            "ssa_me.mmeb_subsets",
            "ssa_me.checkpoints",
            "ssa_me.outputs",
            "ssa_me.byte_cache",
            "ssa_me.jobs",
            "ssa_me.regridding",
            "ssa_me.nearness",
            "ssa_me.late_interaction",
        }
    ),
    frozenset({"ssa_me.families", "ssa_me.hub", "ssa_me.merging"}),
    frozenset({"ssa_me.loading"}),
    frozenset({"ssa_me.backbone", "ssa_me.scenes", "ssa_me.archives", "ssa_me.figures"}),
    frozenset(
        {"ssa_me.salience", "ssa_me.regeneration", "ssa_me.objectives", "ssa_me.adapters", "ssa_me.mini"}
    ),
    frozenset({"ssa_me.composition"}),
    frozenset({"ssa_me.checkpoint", "ssa_me.explanation"}),
    frozenset({"ssa_me.passes", "ssa_me.generation", "ssa_me.model_info"}),
    frozenset({"ssa_me.pipeline", "ssa_me.control_maps", "ssa_me.report"}),
    frozenset({"ssa_me.explaining", "ssa_me.redrawing"}),
    frozenset({"ssa_me.embedding"}),
    frozenset({"ssa_me.embedder", "ssa_me.rereading"}),
    frozenset({"ssa_me.opposed"}),
    frozenset({"ssa_me.gallery", "ssa_me.training", "ssa_me.evaluation"}),
    frozenset({"ssa_me.layers", "ssa_me.attribution", "ssa_me.failures", "ssa_me.annotation"}),
    frozenset({"ssa_me.ablation", "ssa_me.shelf"}),
    frozenset({"ssa_me.commands"}),
    frozenset({"ssa_me.cli"}),
    frozenset({"ssa_me.__main__", "app"}),
)
"""From the ground up. A part imports from lower layers and from itself; parts of one layer do not know each other."""

SOURCES = sorted([*ROOT.glob("ssa_me/**/*.py"), *ROOT.glob("app/**/*.py"), ROOT / "app.py"])
PROBING = {"getattr", "hasattr", "setattr", "delattr"}


def part_of(module: str) -> str:
    """The part of the house that a dotted module belongs to: `ssa_me.gallery.store` to `ssa_me.gallery`."""
    names = module.split(".")
    return "app" if names[0] == "app" else ".".join(names[:2])


def module_of(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all that is imported, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module!r}: write the whole name"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "ssa_me" else (module,)


def calls(tree: ast.AST) -> Iterator[str]:
    """Names of the plain functions that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_every_part_has_a_layer():
    homeless = {part_of(module_of(path)) for path in SOURCES} - frozenset().union(*LAYERS) - {"ssa_me"}
    assert not homeless, f"give these parts a layer in LAYERS and in CONTRIBUTING.md: {sorted(homeless)}"


def test_imports_run_downwards(trees):
    height = {part: level for level, parts in enumerate(LAYERS) for part in parts}
    upwards = []
    for path, tree in trees.items():
        part = part_of(module_of(path))
        for name in imports(tree):
            other = part_of(name)
            if other in height and other != part and height[other] >= height.get(part, -1):
                upwards.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not upwards, "imports that do not run downwards:\n" + "\n".join(upwards)


def test_the_library_knows_no_page(trees):
    page = {"gradio", "gradio_client", "app"}
    knowing = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, tree in trees.items()
        for name in imports(tree)
        if name.split(".")[0] in page and path.is_relative_to(ROOT / "ssa_me")
    ]
    assert not knowing, "\n".join(knowing)


def test_the_workspace_imports_no_gradio(trees):
    names = {name.split(".")[0] for name in imports(trees[ROOT / "app" / "workspace.py"])}
    assert "gradio" not in names


def test_nothing_is_probed(trees):
    probing = [
        f"{p.relative_to(ROOT)}: {name}"
        for p, tree in trees.items()
        for name in calls(tree)
        if name in PROBING
    ]
    assert not probing, "say what a thing is by its type instead:\n" + "\n".join(probing)


def test_only_the_command_line_prints(trees):
    may_print = {ROOT / "app.py", ROOT / "ssa_me" / "cli.py"}
    printing = [
        str(p.relative_to(ROOT)) for p, tree in trees.items() if p not in may_print and "print" in calls(tree)
    ]
    assert not printing


def test_every_file_says_what_it_is(trees):
    silent = [
        str(p.relative_to(ROOT)) for p, tree in trees.items() if tree.body and not ast.get_docstring(tree)
    ]
    assert not silent, f"no module docstring: {silent}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from ssa_me import embedder, samples", ["ssa_me.embedder", "ssa_me.samples"]),
        ("def f():\n    from ssa_me.gallery.store import Gallery", ["ssa_me.gallery.store"]),
        ("import app.workspace as w", ["app.workspace"]),
    ],
)
def test_imports_are_found_wherever_they_hide(source, expected):
    assert list(imports(ast.parse(source))) == expected
