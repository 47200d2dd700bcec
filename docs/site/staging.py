"""Copy the Markdown pages to the source folder of the site, with links and figures in the form that Sphinx expects.

The pages are written for GitHub. On the site, files of the repository that a page links to are downloads, the changelog
and the benchmarks are pages, and a figure ``NAME-light.svg`` has a dark counterpart.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
}
"""Pages outside of docs, with their path on the site; the README is replaced by the front page."""

DOWNLOADS = "downloads"
CODE = re.compile(r"(^```.*?^```[^\n]*$|``[^`\n]+``|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^()\s]+)\)")
PICTURE = re.compile(r"<picture>.*?<img([^>]*)>.*?</picture>", re.DOTALL)
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def stage(source: Path) -> None:
    """Write all pages of the repository to the folder ``source``, and copy the files that they link to."""
    pages = {path: source / site_path(path) for path in _pages()}
    for path, target in pages.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(converted(path.read_text(encoding="utf-8"), path, source), encoding="utf-8")


def add_navigation(source: Path) -> None:
    """Append the tables of contents of ``navigation.toml`` to the pages in ``source``."""
    navigation = tomllib.loads((Path(__file__).parent / "navigation.toml").read_text(encoding="utf-8"))
    names = sorted(
        path.relative_to(source).with_suffix("").as_posix()
        for path in source.rglob("*")
        if path.suffix in (".md", ".rst", ".ipynb") and path.relative_to(source).parts[0] != DOWNLOADS
    )
    left = dict.fromkeys(name for name in names if name != "index")
    sections = {one["caption"]: (one["folder"], _take(one["pages"], left)) for one in navigation["section"]}
    children = {parent: _take(patterns, left) for parent, patterns in navigation["children"].items() if parent in names}
    folders = dict(sections.values())
    for name in left:
        folder = name.partition("/")[0] if "/" in name else "background"
        folders.get(folder, folders["background"]).append(name)
    for parent, pages in children.items():
        _append_contents(source, parent, pages, navigation["titles"])
    for caption, (_, pages) in sections.items():
        _append_contents(source, "index", pages, navigation["titles"], caption)


def _take(patterns: Iterable[str], left: dict[str, None]) -> list[str]:
    taken = [name for pattern in patterns for name in left if fnmatch(name, pattern)]
    for name in taken:
        left.pop(name, None)
    return list(dict.fromkeys(taken))


def _append_contents(source: Path, parent: str, pages: list[str], titles: dict[str, str], caption: str = "") -> None:
    if not pages:
        return
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    entries = [f"{titles[page]} </{page}>" if page in titles else f"/{page}" for page in pages]
    markdown, text = source / f"{parent}.md", source / f"{parent}.rst"
    if markdown.exists():
        block = "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])
    else:
        block = "\n".join(["", ".. toctree::", *(f"   {one}" for one in [*options, "", *entries]), ""])
    path = markdown if markdown.exists() else text
    path.write_text(path.read_text(encoding="utf-8") + block, encoding="utf-8")


def site_path(path: Path) -> str:
    """Return the place of a page of the repository on the site."""
    name = path.relative_to(ROOT).as_posix()
    if name in OUTSIDE:
        return OUTSIDE[name]
    return re.sub(r"README\.md$", "index.md", path.relative_to(DOCS).as_posix())


def _pages() -> list[Path]:
    inside = [path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] != "site"]
    return sorted([*inside, *(ROOT / name for name in OUTSIDE if name != "README.md")])


def converted(text: str, path: Path, source: Path) -> str:
    """Return the text of a page, or of a cell of a notebook, with figures and links in the form of the site."""
    page = _Page(path, source)
    text = _outside_code(text, lambda prose: PICTURE.sub(page.picture, prose))
    return _outside_code(text, lambda prose: LINK.sub(page.link, prose))


class _Page:
    """A page of the repository, for links that are relative to it."""

    def __init__(self, path: Path, source: Path) -> None:
        self.path, self.source = path, source
        self.folder = (source / site_path(path)).parent

    def picture(self, match: re.Match[str]) -> str:
        attributes = dict(ATTRIBUTE.findall(match[1]))
        return f"![{attributes.get('alt', '')}]({attributes['src']})"

    def link(self, match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if re.match(r"[a-z][a-z+.-]*:|#", target):
            return match[0]
        name, _, anchor = target.partition("#")
        file = (self.path.parent / name).resolve()
        if image:
            return self._image(text, file)
        if not file.exists():  # tests/test_docs.py reports the link
            return text
        if file.is_dir():
            index = file / "README.md"
            return f"[{text}]({self._relative(index)})" if index.exists() and index.is_relative_to(DOCS) else text
        return f"[{text}]({self._relative(file)}{'#' + anchor if anchor and file.suffix == '.md' else ''})"

    def _image(self, text: str, file: Path) -> str:
        dark = file.with_name(file.name.replace("-light.", "-dark."))
        if dark == file or not dark.exists():
            return f"![{text}]({self._relative(file)})"
        return "\n".join(
            f"```{{image}} {self._relative(one)}\n:class: only-{theme}\n:alt: {' '.join(text.split())}\n```\n"
            for theme, one in (("light", file), ("dark", dark))
        )

    def _relative(self, file: Path) -> str:
        """Return the path from this page to a file of the repository, which is copied unless it is a page."""
        name = file.relative_to(ROOT).as_posix()
        if name in OUTSIDE or (file.suffix in (".md", ".ipynb") and file.is_relative_to(DOCS)):
            target = self.source / site_path(file)
        else:
            target = self.source / DOWNLOADS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        return Path(os.path.relpath(target, self.folder)).as_posix()


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = CODE.split(text)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
