"""On a public page nobody can start work, whatever a client sends: hiding the form is no protection."""

from pathlib import Path

import pytest

from app import studio
from app.workspace import Workspace


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("start", (["a.zip"], "Mine")),
        ("refresh", ({"current": "scenes"},)),
        ("add", (["a.zip"], {"current": "scenes"})),
        ("resume", ()),
        ("go_on", ({"current": "scenes"},)),
        ("leave_as_it_is", ({"current": "scenes"},)),
    ],
)
def test_a_forged_event_starts_nothing(
    event: str, arguments: tuple[object, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(workspace.making, "begin", lambda *given: begun.append(given))
    monkeypatch.setattr(workspace.making, "refresh", lambda *given: begun.append(given))
    monkeypatch.setattr(workspace.making, "add", lambda *given: begun.append(given))
    monkeypatch.setattr(workspace.making, "resume", lambda *given: begun.append(given))
    monkeypatch.setattr(workspace.making, "give_up", lambda *given: begun.append(given))
    for public in (True, False):
        page = studio.build(workspace, public=public)
        (function,) = {f.fn for f in page.fns.values() if f.fn is not None and f.fn.__name__ == event}
        function(*arguments)
        assert len(begun) == (0 if public else 1)


def test_all_events_but_the_endpoints_are_private(workspace: Workspace) -> None:
    page = studio.build(workspace)
    public = {f.api_name for f in page.fns.values() if f.api_visibility == "public"}
    assert public == {"search", "compare", "explain"}


def test_the_page_asks_nothing_of_other_machines() -> None:
    root = Path(studio.__file__).parent
    for path in [*root.rglob("*.js"), *root.rglob("*.css"), *root.rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "http" in line:
                assert "www.w3.org" in line or "Http" in line or "127.0.0.1" in line, (
                    f"{path.name}: {line.strip()}"
                )
