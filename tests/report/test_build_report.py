"""The report folder: complete, escaped, reproducible bytes, built only from the disk."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmi.errors import RunError, UsageError
from segmi.report import table1_text, write_report
from segmi.report.page import CHART_DATA, GALLERY_DATA, LIBRARY, SCRIPTS, STYLE

COMPARED = (
    "statistics", "new_images", "interaction_datasets", "ranks", "estimates", "class_differences_street-scenes",
    "class_differences_object-scenes",
)  # fmt: skip
FILES = {
    "index.html", "report.md", "table1.md", "table1.csv", "table1.tex", "table_networks.md", "table_networks.csv",
    "table_networks.tex",
    "table_details.md", "table_details.csv", "table_details.tex",
    "figures/learning_curves.png", "figures/learning_curves.svg", "figures/forest.png", "figures/forest.svg",
    *(f"figures/predictions_{d}.png" for d in ("street-scenes", "object-scenes")),
    *(f"{t}.{e}" for t in COMPARED for e in ("md", "csv", "tex")),
    *(f"classes_{d}.{e}" for d in ("street-scenes", "object-scenes") for e in ("md", "csv", "tex")),
    *(f"assets/{name}" for name in (STYLE, *SCRIPTS, LIBRARY, CHART_DATA, GALLERY_DATA)),
    *(f"gallery/{d}/val_000{p}.{layer}" for d in ("street-scenes", "object-scenes") for p in (0, 1)
      for layer in ("image.jpg", "truth.png", *(f"model-{m}.{kind}.png" for m in (1, 2, 3)
                                                for kind in ("prediction", "errors", "confidence")))),
}  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.scripts += [dict(attributes).get("src")] if tag == "script" else []
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_complete_and_byte_identical(demo_runs: Path, tmp_path: Path) -> None:
    first = write_report(demo_runs, tmp_path / "first")
    copy = shutil.copytree(demo_runs, tmp_path / "elsewhere")
    second = write_report(copy / "demo", tmp_path / "second")
    assert first == tmp_path / "first"
    assert set(digests(first)) == FILES
    assert digests(first) == digests(second)


def test_a_second_report_replaces_the_first(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    folder = write_report(made.all())
    assert folder == made.root / "demo" / "report"
    before = digests(folder)
    for stray in ("figures/predictions_gone.png", "gallery/gone/val_0000.image.jpg"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).touch()
    assert write_report(made.root) == folder
    assert digests(folder) == before


def test_table1_csv_by_hand(fabricate: Callable[..., Any]) -> None:
    folder = write_report(fabricate(seeds=(0,)).all())
    rows = list(csv.reader((folder / "table1.csv").open(encoding="utf-8")))
    assert rows[1] == ["Street scenes", "0.5000", "0.8000", "0.5100", "0.8100", "0.5200", "0.8200"]
    assert rows[2] == ["Object scenes", "0.6000", "0.8000", "0.6100", "0.8100", "0.6200", "0.8200"]


def test_the_page_has_no_external_links_and_escapes_names(fabricate: Callable[..., Any]) -> None:
    made = fabricate(nasty=True, seeds=(0,))
    made.all()
    made.fail("object-scenes", "model-1", 0, RunError("<img src=x onerror=alert(1)>", "use </style>"))
    (made.root / "demo" / "object-scenes" / "model-1" / "seed0" / "result.json").unlink()
    folder = write_report(made.root)
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    own = [LIBRARY, CHART_DATA, GALLERY_DATA, *SCRIPTS]
    assert sorted(page.scripts) == sorted(f"assets/{name}" for name in own), "no script but the page's own"
    assert "style" not in page.tags
    outside = [a for a in page.addresses if not a.startswith(("data:,", "#")) and not (folder / a).is_file()]
    assert outside == []
    for data in (CHART_DATA, GALLERY_DATA):
        assert "</script" not in (folder / "assets" / data).read_text(encoding="utf-8")
    assert "<script>alert(1)</script>" in page.texts  # as text
    assert "<i>Model_2</i> & 50%" in page.texts
    assert "onerror" not in re.sub(r"&lt;img[^<]*", "", text)
    assert any("5 of 6 runs finished" in data for data in page.texts)
    tex, markdown = (folder / "classes_object-scenes.tex").read_text(), (folder / "report.md").read_text()
    assert "<script>" not in tex + markdown
    assert r"50 \% \textbar{} \$x\$" in tex
    cells = [row[0] for row in csv.reader((folder / "classes_object-scenes.csv").open(encoding="utf-8"))]
    assert cells[-1] == '\'=cmd()|"x"'


def test_images_have_the_colors_of_the_dataset(fabricate: Callable[..., Any]) -> None:
    folder = write_report(fabricate(seeds=(0,)).all())
    with Image.open(folder / "figures" / "predictions_street-scenes.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colors, counts = np.unique(pixels, axis=0, return_counts=True)
    common = {tuple(int(v) for v in c) for c, n in zip(colors, counts, strict=True) if n > 500}
    assert {(128, 64, 128), (244, 35, 232), (70, 70, 70), (70, 130, 180)} <= common


def test_a_study_without_finished_runs(fabricate: Callable[..., Any]) -> None:
    made = fabricate()
    made.plan()
    folder = write_report(made.root)
    assert "0/12 runs finished" in (folder / "table1.md").read_text()
    assert not (folder / "figures").exists()
    assert "0 of 12 runs finished" in (folder / "index.html").read_text()


def test_unreadable_samples_and_metrics_are_reported(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    run = made.root / "demo" / "street-scenes" / "model-1" / "seed0"
    (run / "metrics.csv").write_bytes(b"\xff\xfe")
    (run / "config.yaml").write_text("a: [")
    sample = run / "samples" / "val_0000.unet.png"
    sample.write_bytes(b"x" * sample.stat().st_size)
    text = (write_report(made.root) / "index.html").read_text(encoding="utf-8")
    assert "unreadable" in text


def test_several_studies(fabricate: Callable[..., Any], tmp_path: Path) -> None:
    fabricate(seeds=(0,)).plan()
    made = fabricate("paper", seeds=(0,))
    made.plan()
    folder = write_report(made.root)
    assert folder == made.root / "report"
    links = [a for a in Page((folder / "index.html").read_text()).addresses if a != "data:,"]
    assert links == ["../demo/report/index.html", "../paper/report/index.html"]
    assert all((folder / link).is_file() for link in links)
    apart = write_report(made.root, tmp_path / "out")
    assert (apart / "paper" / "table1.tex").is_file()
    assert table1_text(made.root).count("Table 1 of the study") == 2


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no runs under"):
        write_report(tmp_path)


def test_table1_text(demo_runs: Path) -> None:
    text = table1_text(demo_runs)
    assert "Street scenes" in text
    assert "0.5300 ± 0.0141*" in text
    assert "12/12 runs finished." in text


@pytest.mark.parametrize("name", ["assets", "figures", "gallery"])
def test_foreign_folders_are_not_replaced(demo_runs: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / name / "mine.png"
    mine.parent.mkdir()
    mine.write_text("a figure of my own")
    (tmp_path / "statistics.docx").write_text("a text of my own")
    with pytest.raises(UsageError, match=f"expected a report or an empty folder at .*, got a folder with {name}"):
        write_report(demo_runs, tmp_path)
    assert mine.is_file()
    mine.parent.rename(tmp_path / "elsewhere")
    write_report(demo_runs, tmp_path)
    assert (tmp_path / "statistics.docx").is_file()


def test_a_report_without_images(demo_runs: Path, tmp_path: Path) -> None:
    write_report(demo_runs, tmp_path, images=True)
    write_report(demo_runs, tmp_path, images=False)
    assert not (tmp_path / "gallery").exists()
    assert not list((tmp_path / "figures").glob("predictions_*"))
    assert "Example images" not in (tmp_path / "index.html").read_text()
