"""The page of a report: everything in one file, text escaped, nothing fetched."""

from __future__ import annotations

from html.parser import HTMLParser

from ssa_me.report import Section, code, facts, figure, note, page, paragraph, table

PNG = b"\x89PNG\r\n\x1a\n not really"


class Reader(HTMLParser):
    """Collects tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data if self.tags and self.tags[-1][0] != "style" else ""


def test_a_page_holds_its_sections_in_order_and_leaves_empty_ones_out():
    html = page(
        "Report",
        [Section("First", (paragraph("one"),)), Section("None", ()), Section("Last", (note("two"),))],
    )
    text = Reader(html).text
    assert html.startswith("<!doctype html>")
    assert text.index("First") < text.index("one") < text.index("Last") < text.index("two")
    assert "None" not in text


def test_whatever_is_put_in_is_text():
    evil = '<script>alert("1")</script>'
    html = page(
        evil,
        [
            Section(
                evil,
                (
                    paragraph(evil),
                    note(evil),
                    code(evil),
                    facts({evil: evil}),
                    table([evil], [[evil, evil]], evil),
                    figure(PNG, evil),
                ),
            )
        ],
        evil,
    )
    read = Reader(html)
    assert "script" not in [tag for tag, _ in read.tags]
    assert read.text.count(evil) == 14
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert images[0]["alt"] == evil


def test_nothing_is_fetched():
    read = Reader(page("t", [Section("s", (figure(PNG, "a map", 320),))]))
    policy = next(a["content"] for tag, a in read.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for _, attributes in read.tags:
        for name in ("src", "href"):
            assert str(attributes.get(name, "data:")).startswith("data:")


def test_numbers_are_short_and_what_is_not_known_is_a_dash():
    text = Reader(table(["phrase", "score", "n", "rank"], [["a bird", -0.123456, 12345, None]])).text
    assert text == "phrasescorenranka bird−0.123512,345–"
