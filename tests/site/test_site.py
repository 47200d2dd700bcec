"""The documentation site is complete: links and anchors exist, nothing is loaded, ten questions are answered."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from segmi.losses import LOSSES

pytestmark = pytest.mark.timeout(900)  # the first test builds the site

LOADED = {"script": "src", "link": "href", "img": "src", "source": "srcset", "iframe": "src"}


class Parsed(NamedTuple):
    """Links, loaded addresses and ids of a page, and its text."""

    links: list[str]
    loaded: list[str]
    ids: set[str]
    text: str


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if (address := given.get(LOADED.get(tag, ""))) and given.get("rel") != "canonical":
            self.loaded.append(address)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parsed]:
    """All pages of the site."""
    found = {}
    for path in site.rglob("*.html"):
        if path.relative_to(site).parts[0] in ("_static", "_downloads"):
            continue
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        found[path] = Parsed(reader.links, reader.loaded, reader.ids, " ".join("".join(reader.text).split()))
    return found


def test_links_and_anchors_exist(site: Path, pages: dict[Path, Parsed]) -> None:
    broken = []
    for path, page in pages.items():
        for address in [*page.links, *page.loaded]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {address}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{path.relative_to(site)}: {address} (anchor)")
    assert len(pages) > 80
    assert not broken, broken[:20]


def test_nothing_is_loaded_from_the_network(site: Path, pages: dict[Path, Parsed]) -> None:
    loaded = {address for page in pages.values() for address in page.loaded}
    assert not {address for address in loaded if urlsplit(address).scheme not in ("", "data")}
    styles = {path.name: path.read_text(encoding="utf-8") for path in (site / "_static").rglob("*.css")}
    assert "site.css" in styles
    assert not [name for name, text in styles.items() if re.search(r"(url\([\"']?|@import [\"'])(https?:)?//", text)]


def test_every_loss_has_a_page(site: Path, pages: dict[Path, Parsed]) -> None:
    for name, kind in LOSSES.items():
        page = pages[site / "losses" / "each" / f"{name}.html"]
        assert "When to use:" in page.text, f"{name}: the docstring of the class lacks a line Use:"
        assert f"segmi.losses.{kind.__name__}" in page.ids


def test_public_names_are_in_the_reference(site: Path, pages: dict[Path, Parsed]) -> None:
    import segmi.deploy
    import segmi.information
    import segmi.training

    ids = {one for page in pages.values() for one in page.ids}
    for package in (segmi.deploy, segmi.information, segmi.losses, segmi.training):
        assert not [name for name in package.__all__ if f"{package.__name__}.{name}" not in ids]


QUESTIONS = {
    "which loss for thin structures": ("losses/index.html#which-loss", "thin or small structures"),
    "ignore a class": ("guides/data.html#segmi-toml", "ignored values"),
    "ignore pixels": ("start/loss.html#ignored-pixels", "ignore_index"),
    "number of seeds": ("guides/seeds.html", "detectable difference"),
    "continue a killed study": ("guides/run-studies.html#stopping-and-continuing", "with the same command"),
    "16-bit images": ("guides/image-formats.html", "8 or 16 bits per band"),
    "export to ONNX": ("guides/export.html#other-programs", "--format onnx"),
    "compare two losses": ("start/study.html", "segmi study run"),
    "corrected": ("losses/rmi.html#published-and-corrected", "with better conventions"),
    "cite": ("citation.html", "@inproceedings"),
    "add a loss": ("losses/own-loss.html", "PerNetwork"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_front_page_links_to_the_answer(site: Path, pages: dict[Path, Parsed], question: str) -> None:
    address, answer = QUESTIONS[question]
    assert address in pages[site / "index.html"].links
    path, _, anchor = address.partition("#")
    page = pages[(site / path).resolve()]
    assert answer in page.text
    assert not anchor or anchor in page.ids


def test_search_knows_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ("lovasz", "onnx", "checkpoint", "guides/seeds"))
