from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    connected = Client(address, verbose=False, analytics_enabled=False)
    yield connected
    connected.close()


def test_only_the_named_endpoints_are_public(client: Client) -> None:
    assert set(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == {
        "/search",
        "/compare",
        "/explain",
    }


def test_search_answers_as_the_command_prints(client: Client) -> None:
    found = client.predict("a red car", k=3, api_name="/search")
    assert list(found["results"]) == ["ssa-me"]
    hits = found["results"]["ssa-me"]
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert set(hits[0]) == {"rank", "id", "file_name", "url", "score", "subject"}
    assert hits[0]["url"].startswith(f"studio/image/scenes/{hits[0]['id']}?")


def test_compare_gives_both_lists_and_their_overlap(
    client: Client, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "q.png").write_bytes(picture("red"))
    found = client.predict(
        "a red car", handle_file(tmp_path / "q.png"), 0.5, 4, "scenes", api_name="/compare"
    )
    first, second = ({hit["id"] for hit in found["results"][name]} for name in ("baseline", "ssa-me"))
    assert found["overlap"] == pytest.approx(len(first & second) / 4)


def test_search_takes_the_options_of_the_command(
    client: Client, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    found = client.predict(
        "red car -green", k=4, model="ssa-me, ssa-me+subjects", where="width>=1\nfile_name~a", sort="alignment",
        hide_duplicates=0.9, api_name="/search",
    )  # fmt: skip
    assert list(found["results"]) == ["ssa-me", "ssa-me+subjects"]
    asked = found["query"]
    assert (asked["unwanted"], asked["where"], asked["sort"]) == (
        ["green"],
        ["width>=1", "file_name~a"],
        "alignment",
    )
    assert asked["hide_duplicates"] == 0.9
    (tmp_path / "q.png").write_bytes(picture("red"))
    part = client.predict(image=handle_file(tmp_path / "q.png"), region="2,3,20,20", k=2, api_name="/compare")
    assert part["query"]["region"] == [2, 3, 20, 20]


def test_every_option_is_described(client: Client) -> None:
    """As the tools of --mcp are, which read the same text."""
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert "least_alignment" in [p["parameter_name"] for p in endpoints["/search"]["parameters"]]
    from app import api

    source = Path(api.__file__).read_text(encoding="utf-8")
    for endpoint in ("/search", "/compare", "/explain"):
        for parameter in endpoints[endpoint]["parameters"]:
            assert f"            {parameter['parameter_name']}: " in source


def test_explain_aligns_the_subjects_of_the_text(
    client: Client, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "q.png").write_bytes(picture("red"))
    found = client.predict("a red car", handle_file(tmp_path / "q.png"), api_name="/explain")
    assert set(found["models"]) == {"baseline", "ssa-me"}
    assert found["models"]["ssa-me"]["attention_on_image"] > 0
    assert [subject["phrase"] for subject in found["alignment"]] == ["a red car"]
    assert (found["attributions"], found["files"]) == ([], [])


def test_explain_by_the_whole_pipeline(client: Client, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "q.png").write_bytes(picture("red"))
    found = client.predict("a red car", handle_file(tmp_path / "q.png"), "full", api_name="/explain")
    assert found["salience"] == "full"
    assert "subjects" in found["seconds"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"text": "red", "salience": "heavy"}, "heavy"),
        ({"text": ""}, "nothing to search for"),
        ({"text": "red", "k": 0}, "1 or more"),
        ({"text": "red", "gallery": "../.."}, "not the name of a gallery"),
        ({"text": "red", "model": "magic"}, "magic"),
        ({"text": "red", "image_weight": 7}, "from 0"),
        ({"text": "a" * 10_001}, "10,001"),
        ({"text": "-red"}, "Only what is unwanted"),
        ({"text": "red", "where": "nonsense"}, "no condition"),
        ({"text": "red", "region": "1,2,3,4"}, "no image"),
        ({"text": "red", "least_alignment": 3}, "between -1 and 1"),
    ],
)
def test_bad_input_is_a_sentence(arguments: dict[str, Any], words: str, client: Client) -> None:
    with pytest.raises(AppError, match=words):
        client.predict(**arguments, api_name="/search")


def test_a_file_that_is_no_image_is_refused_by_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("dear all")
    with pytest.raises(AppError, match=r"letter\.png"):
        client.predict("red", handle_file(tmp_path / "letter.png"), api_name="/search")
