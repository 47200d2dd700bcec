"""Build the documentation site: `make site`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import write_api_pages
from loss_pages import write_loss_pages
from notebook_pages import write_notebooks
from sphinx.cmd.build import build_main
from staging import ROOT, add_navigation, stage


def build(folder: Path, *, jobs: str = "auto") -> int:
    """Build the site in ``folder``/html from pages that are collected in ``folder``/source; warnings are errors."""
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    stage(source)
    write_notebooks(source)
    write_loss_pages(source)
    write_api_pages(source)
    add_navigation(source)
    options = ["-q", "-W", "--keep-going", "-j", jobs, "-b", "html", "-c", str(Path(__file__).parent)]
    code = build_main([*options, "-d", str(folder / "doctrees"), str(source), str(folder / "html")])
    if not code:
        print(folder / "html" / "index.html")
    return code


def main() -> int:
    """Build the site in build/site or the given folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "site")
    parser.add_argument("--jobs", default="auto", help="processes of Sphinx")
    given = parser.parse_args()
    return build(given.folder, jobs=given.jobs)


if __name__ == "__main__":
    sys.exit(main())
