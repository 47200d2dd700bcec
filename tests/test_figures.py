"""The figures of docs show what their captions say, exist in both themes, and are equal when drawn again."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCRIPTS = sorted(path.stem for path in DOCS.glob("draw_*.py"))
BLOCK = re.compile(
    r"<picture>\n<source media=\"\(prefers-color-scheme: dark\)\" srcset=\"(\S+)-dark\.(svg|png)\">\n"
    r"<img alt=\"([^\"]{60,})\" src=\"\1-light\.\2\">\n</picture>\n\n\w.+"
)


@pytest.fixture(autouse=True)
def docs_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.setenv("SEGMI_KERNELS", "off")


def script(name: str) -> ModuleType:
    return importlib.import_module(f"draw_{name}")


def test_every_figure_is_on_a_page_with_text_and_caption() -> None:
    pages = [(page, page.read_text(encoding="utf-8")) for page in DOCS.glob("**/*.md")]
    shown = {(page.parent / f"{base}-{theme}.{kind}").resolve() for page, text in pages
        for base, kind, _ in BLOCK.findall(text) for theme in ("light", "dark")}  # fmt: skip
    files = set((DOCS / "figures").iterdir())
    assert shown == files
    assert sum(text.count("<picture>") for _, text in pages) == len(files) / 2
    assert all(path.stat().st_size < 200_000 for path in files)


def test_every_script_writes_figures() -> None:
    drawn = [
        name for one in SCRIPTS for name in re.findall(r"write\(\w+, \"([\w-]+)\"\)", (DOCS / f"{one}.py").read_text())
    ]
    assert {f"{name}-{theme}" for name in drawn for theme in ("light", "dark")} == {
        path.stem for path in (DOCS / "figures").iterdir()
    }


def test_equal_bytes_when_drawn_again(tmp_path: Path) -> None:
    from figure_style import write  # type: ignore[import-not-found]

    paths = [write(script("label_information").draw, "one", tmp_path / folder) for folder in ("a", "b")]
    for first, second in zip(*paths, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert b"<svg" in first.read_bytes()


def test_large_figures_become_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import figure_style

    monkeypatch.setattr(figure_style, "LARGEST_SVG", 1000)
    (tmp_path / "one-dark.svg").write_text("old")
    paths = figure_style.write(script("label_information").draw, "one", tmp_path)
    assert [path.name for path in paths] == ["one-light.png", "one-dark.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_windows() -> None:
    """The log-volumes of the two matrices differ by the value of the library."""
    from segmi.losses import region_information

    drawing = script("rmi")
    scene, logits = drawing.boat()
    before, after = map(drawing.half_log_determinant, drawing.covariances(scene, logits))
    information = region_information(logits, scene.labels, variant="corrected")[0, 1].item()
    assert before - after == pytest.approx(information, abs=1e-3)
    assert information > 3


def test_shuffles() -> None:
    from segmi.losses import region_permuted_pixels

    drawing = script("rmi")
    values = drawing.information_after_shifts()
    original, own, both, pixels, label = (np.array(one) for one in values.values())
    assert abs(label).max() < 0.01 * original[0]  # nothing is left
    # The neighborhood is the difference, up to the chance of one order; the figure draws the order of seed 0.
    scene = drawing.object_scene(17, drawing.SIZE)
    perfect, options = 20 * (2 * scene.one_hot - 1), {"variant": "corrected"}
    orders = [
        [
            -region_permuted_pixels(perfect.roll(shift, -1), scene.labels, seed=seed, **options)
            for shift in drawing.SHIFTS
        ]
        for seed in range(16)
    ]
    np.testing.assert_allclose(orders[0], both)
    np.testing.assert_allclose(np.mean(orders, axis=0), pixels, atol=0.01)
    assert original[1] / original[0] == pytest.approx(0.70, abs=0.01)
    assert own[1] / own[0] == pytest.approx(0.07, abs=0.01)


def test_same_mistakes() -> None:
    shares = script("pixel").shares()
    wrong = {name: one["missing part"] + one["false object"] for name, one in shares.items()}
    assert wrong["pixels"] < 0.05
    assert wrong["cross-entropy"] > 0.5
    assert shares["Dice"]["true borders"] > 0.5
    assert shares["region mutual information"]["true borders"] > 0.5
    balanced = shares["balanced cross-entropy"]
    assert balanced["missing part"] / balanced["false object"] == pytest.approx(7, abs=0.5)
    assert all(sum(one.values()) == pytest.approx(1) for one in shares.values())


def test_mutual_learning() -> None:
    """The pull is towards the peer, on both sides of the label, and cross-entropy's is towards the label."""
    drawing = script("distillation")
    p, first, second = drawing.grid()
    own, peer = first[0].numpy(), second[0].numpy()
    pull = drawing.step(drawing.TERMS["mutual learning"], first, second)
    np.testing.assert_allclose(pull, 2 * own * (1 - own) * (peer - own), atol=1e-9)
    ce = drawing.step(drawing.TERMS["cross-entropy"], first, second)
    np.testing.assert_allclose(ce, 2 * own * (1 - own) ** 2, atol=1e-9)
    divergence = drawing.disagreement()
    assert abs(divergence.diagonal()).max() < 1e-12
    assert divergence.max() < np.log(2)
    assert len(p) == len(divergence)


def test_label_information() -> None:
    drawing = script("label_information")
    scene, logits = drawing.noisy_prediction()
    values = drawing.parts()
    np.testing.assert_allclose(values["all"], values["label"] + values["beyond"], atol=1e-5)
    assert (np.diff(values["label"]) > 0).all()
    assert (np.diff(values["beyond"]) > -1e-6).all()
    table, permuted = (drawing.table(one, scene.labels) for one in (logits, drawing.permuted(logits)))
    np.testing.assert_allclose(permuted.numpy(), table.roll(1, 1).numpy(), atol=1e-6)


def test_unsupervised() -> None:
    right, uncertain, stripes, one_class = (list(one.values()) for one in script("unsupervised").values().values())
    entropy, information, neighbors, divergence = range(4)
    assert stripes[information] == pytest.approx(np.log(4), abs=1e-4)
    assert stripes[information] > right[information] > uncertain[information]
    assert stripes[neighbors] > right[neighbors]
    assert max(abs(one[entropy]) for one in (right, stripes, one_class)) < 1e-6
    assert abs(right[divergence]) < 1e-4
    assert min(stripes[divergence], one_class[divergence]) > 0.3


def test_representation() -> None:
    drawing = script("representation")
    _, index, classes = drawing.anchors()
    start, end = drawing.embeddings()
    assert len(index) == 4 * drawing.PER_CLASS
    centers = np.stack([end[classes == label].mean(0).numpy() for label in range(4)])
    assert np.linalg.norm(centers, axis=1).min() > 0.99  # one point per class
    apart = np.linalg.norm(centers[:, None] - centers, axis=-1)[~np.eye(4, dtype=bool)]
    assert apart.min() > 1.3
    assert drawing.loss_of(end, classes) < drawing.loss_of(start, classes) / 10
    for signal, rate in drawing.rates().items():
        assert drawing.NOISE[rate.argmin()] == pytest.approx(1, rel=0.05)
        assert rate.min() == pytest.approx(signal**2 / 2, abs=0.01)


def teardown_module() -> None:
    for name in [name for name in sys.modules if name.startswith("draw_") or name == "figure_style"]:
        del sys.modules[name]
