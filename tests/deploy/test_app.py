"""The page shows masks, confidence and shares of the classes, in a real browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from segmi.cli import main
from segmi.deploy import load, predict, save_bundle
from segmi.deploy.app import (
    bundle_titles,
    confidence_image,
    default_selection,
    find_bundles,
    legend_html,
    predict_with_confidence,
)


@pytest.fixture
def runs(tmp_path, network, dataset, preprocessing):
    for method in ("unet-rmi", "unet-ce"):
        folder = tmp_path / "runs" / "study" / "toy" / method / "seed0" / "bundles" / "network"
        save_bundle(folder, network, dataset=dataset, preprocessing=preprocessing)
    return tmp_path / "runs"


def test_a_result_is_the_prediction_with_its_confidence(runs, tmp_path):
    network = load(find_bundles(runs)[0])
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    found = predict_with_confidence([(network, pixels)])
    np.testing.assert_array_equal(found.labels, predict(network, pixels, probabilities=tmp_path / "p.npy"))
    np.testing.assert_allclose(found.confidence, np.load(tmp_path / "p.npy").max(0), atol=1e-3)
    assert sum(found.shares.values()) == pytest.approx(1)
    shares = [share for _, share in found.ranked()]
    assert shares == sorted(shares, reverse=True)
    assert confidence_image(np.array([[0.0, 0.5, 1.0]], np.float32))[0, :, 0].tolist() == [0, 128, 255]


def test_a_result_can_be_augmented(runs):
    network = load(find_bundles(runs)[0])
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    found = predict_with_confidence([(network, pixels)], tta=("flips",))
    np.testing.assert_array_equal(found.labels, predict(network, pixels, tta="flips"))
    assert not np.allclose(found.confidence, predict_with_confidence([(network, pixels)]).confidence, atol=1e-3)


def test_several_networks_form_an_ensemble(runs, tmp_path, network, dataset, preprocessing):
    with torch.no_grad():
        network.module.head.weight.neg_()
    other = save_bundle(tmp_path / "other", network, dataset=dataset, preprocessing=preprocessing)
    bundles = [find_bundles(runs)[0], other]
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    found = predict_with_confidence([(load(one), pixels) for one in bundles])
    np.testing.assert_array_equal(found.labels, predict(bundles, pixels))
    assert not np.array_equal(found.labels, predict(bundles[0], pixels))
    assert sum(found.shares.values()) == pytest.approx(1)


def test_the_page_offers_augmentation_and_original_values(runs):
    testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")
    script = f"from pathlib import Path\nfrom segmi.deploy.app_page import page\npage(Path({str(runs)!r}))"
    page = testing.AppTest.from_string(script, default_timeout=60).run()
    assert not page.exception
    assert [one.label for one in page.multiselect] == ["Networks", "Test-time augmentation"]
    assert list(page.multiselect[1].options) == ["flips", "scales"]
    assert list(page.radio[1].options) == ["index", "original"]
    assert [one.label for one in page.checkbox] == ["Ensemble"]


def test_titles_leave_out_shared_parts(runs):
    titles = [title for bundle in find_bundles(runs) for title in bundle_titles([bundle], runs)]
    assert titles == ["study / toy / unet-ce / seed0 / network", "study / toy / unet-rmi / seed0 / network"]
    assert bundle_titles(find_bundles(runs), runs) == ["unet-ce", "unet-rmi"]
    assert default_selection(find_bundles(runs)) == [0, 1]
    (one,) = find_bundles(find_bundles(runs)[0])
    assert bundle_titles([one], one) == ["network"]


def test_the_legend_has_colors_and_escaped_names(runs):
    found = predict_with_confidence([(load(find_bundles(runs)[0]), np.zeros((40, 40, 3), np.uint8))])
    shares = {"<b>sky</b>": 0.25, "road": 0.75, "car": 0.0}
    legend = legend_html(found._replace(shares=shares))
    assert legend.index("road") < legend.index("&lt;b&gt;sky&lt;/b&gt;")
    assert "<b>" not in legend
    assert "car" not in legend
    assert f"rgb({','.join(map(str, found.palette[1]))})" in legend
    assert "75.0%" in legend


def test_missing_runs_and_packages_are_reported(tmp_path, runs, capsys, monkeypatch):
    assert main(["app", str(tmp_path / "nothing")]) == 2
    message = capsys.readouterr().err
    assert "contains no trained network" in message
    assert "the page is at" not in message
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["app", str(runs)]) == 5
    assert "pip install 'segmi[app]'" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    runs: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    pytest.importorskip("streamlit", reason="streamlit is not installed: pip install 'segmi[app]'")
    port = free_port()
    command = [sys.executable, "-m", "segmi.cli", "app", str(runs), *options, "--port", str(port)]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen(command, **quiet, start_new_session=True, env={**os.environ, **(environment or {})}) as page:
        url = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not _responds(url):
                time.sleep(0.2)
            yield url, page
        finally:
            with suppress(ProcessLookupError):  # none is left
                os.killpg(page.pid, signal.SIGKILL)


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    with served(runs, "--no-browser") as (url, _):
        yield url


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server_and_every_process(runs, number):
    with served(runs, "--no-browser") as (url, page):
        assert _responds(url)
        page.send_signal(number)
        assert page.wait(30) == 0
        with pytest.raises(ProcessLookupError):
            os.killpg(page.pid, 0)
        assert not _responds(url)


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_the_first_start_asks_for_nothing(runs, tmp_path):
    with served(runs, environment={"HOME": str(tmp_path), "BROWSER": "true"}) as (url, _):
        assert _responds(url)


def test_a_running_prediction_does_not_keep_the_process_alive():
    code = (
        "import threading, time\nfrom segmi.deploy import app\napp.SECONDS_TO_END = 0.1\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\napp._end_predictions()"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def _responds(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_the_page_shows_the_masks_of_an_image(chromium, address, image, dataset, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    elsewhere: list[str] = []
    page.on("request", lambda one: elsewhere.append(one.url) if not _local(one.url, address) else None)
    page.goto(address)
    page.locator("input[type=file]").set_input_files(str(image(size=(96, 64))), timeout=60_000)
    api.expect(page.get_by_text("96 × 64 pixels")).to_be_visible(timeout=60_000)
    api.expect(page.get_by_text("Mean confidence")).to_have_count(2, timeout=60_000)
    masks = page.locator("[data-testid=stImage] img")
    api.expect(masks).to_have_count(3, timeout=60_000)
    colors = page.locator(".shares .swatch").evaluate_all("all => all.map(one => one.style.backgroundColor)")
    assert len(colors) >= 2
    assert set(colors) <= {f"rgb({', '.join(map(str, color))})" for color in dataset["palette"][:3]}
    with page.expect_download() as download:
        page.get_by_text("Download mask").first.click()
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"
    overlay = masks.nth(1).get_attribute("src")
    page.get_by_text("confidence", exact=True).click()
    api.expect(page.get_by_text("White: 1, black: 0").first).to_be_visible(timeout=60_000)
    assert masks.nth(1).get_attribute("src") != overlay
    if os.environ.get("SEGMI_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['SEGMI_SCREENSHOTS']}/app.png", full_page=True)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    page.locator("input[type=file]").set_input_files(str(bad))
    api.expect(page.get_by_text("got something else")).to_be_visible(timeout=60_000)
    context.close()
    assert not elsewhere


def _local(url: str, address: str) -> bool:
    return url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
