"""The documentation builds without a warning, its links and examples hold."""

from __future__ import annotations

import ast
import asyncio
import inspect
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from said import blocks, checked

import seqcache

from .conftest import ROOT

PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts
)
EXAMPLES = {
    str(page.relative_to(ROOT / "docs")): code
    for page in PAGES
    if (code := [text for language, text in blocks(page) if language == "python"])
}
# It needs a database: tests/live/durable runs what it says.
EXAMPLES.pop("durable.md")
# The first test that wants the site builds it, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)
SAID = {"start.md": 16, "guarantee.md": 3, "howto/jupyter.md": 2, "howto/testing.md": 2}


class Links(HTMLParser):
    """What a page refers to, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors.update(
            value for key in ("id", "name") if (value := given.get(key))
        )
        if tag in ("a", "link") and given.get("href"):
            self.links.add(given["href"])
        if tag in ("img", "script") and given.get("src"):
            self.links.add(given["src"])


def read(page):
    """The links and anchors of a rendered page."""
    parser = Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_site_builds_without_a_warning(site):
    assert (site / "index.html").exists()
    assert "increase_seq" in (site / "reference" / "caches.html").read_text()


def test_every_public_name_has_an_entry(site):
    pages = (page.read_text() for page in (site / "reference").glob("*.html"))
    text = "".join(pages)
    names = set(seqcache.__all__) - {"__version__"}
    assert not [name for name in names if f'id="seqcache.{name}"' not in text]
    for face in (seqcache.SeqCache, seqcache.AsyncSeqCache):
        public = [name for name in dir(face) if not name.startswith("_")]
        dotted = [f"seqcache.{face.__name__}.{name}" for name in public]
        assert not [name for name in dotted if f'id="{name}"' not in text]


def test_every_link_within_the_site_leads_somewhere(site):
    pages = {page: read(page) for page in site.rglob("*.html")}
    dead = []
    seen = 0
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            seen += 1
            path = unquote(parts.path)
            target = (page.parent / path).resolve() if path else page
            anchored = parts.fragment and target.suffix == ".html"
            if not target.exists() or (
                anchored and unquote(parts.fragment) not in pages[target].anchors
            ):
                dead.append(f"{page.relative_to(site)}: {link}")
    assert not dead
    assert seen > 500


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_of_a_page_return_what_they_say(page):
    compared = []

    def compare(value, expected):
        assert value == expected
        compared.append(value)

    names = {"compare": compare, "pytest": pytest, "seqcache": seqcache}
    for number, text in enumerate(EXAMPLES[page]):
        code = checked(text.replace("redis://localhost:6379/0", "memory://"))
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        made = compile(code, f"{page} example {number}", "exec", flags=flags)
        if made.co_flags & inspect.CO_COROUTINE:
            runner = names.setdefault("__runner", asyncio.Runner())
            runner.run(eval(made, names))
        else:
            exec(made, names)
    if "__runner" in names:
        names["__runner"].close()
    if isinstance(names.get("cache"), seqcache.SeqCache):
        names["cache"].close()
    assert len(compared) == SAID.get(page, len(compared))


def test_every_page_with_values_is_counted():
    assert set(SAID) <= set(EXAMPLES)
