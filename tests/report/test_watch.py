"""A served report follows its records and is available only on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import EnvironmentProblem
from segmi.report.watch import Watch, serving


@pytest.fixture
def watch(fabricate: Callable[..., Any]) -> Watch:
    made = fabricate(seeds=(0,))
    made.plan()
    made.run("street-scenes", "model-1", 0)
    return Watch(made.root)


@pytest.fixture(scope="module")
def still(fabricator: Any, tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """A report whose records do not change."""
    made = fabricator(tmp_path_factory.mktemp("still") / "runs", seeds=(0,))
    made.run("street-scenes", "model-1", 0)
    return Watch(made.root)


@pytest.fixture(scope="module")
def address(still: Watch) -> Iterator[str]:
    with serving(still, every=600) as found:
        yield found


def get(address: str, path: str = "") -> str:
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        return str(answer.read().decode("utf-8"))


def test_only_changed_records_rebuild_the_report(watch: Watch) -> None:
    page = watch.folder / "index.html"
    page.write_text("old")
    assert not watch.update()
    assert page.read_text() == "old"
    history = watch.runs_root / "demo/street-scenes/model-1/seed0/metrics.csv"
    history.write_text("step,holdout/mIoU/unet\n10,0.5\n")
    assert watch.update()
    assert watch.version == 2
    assert "1 of 6 runs finished" in page.read_text()
    assert not watch.update(), "the report is not a record"


def test_an_unreadable_record_is_reported_and_retried(watch: Watch) -> None:
    lines: list[str] = []
    watch.log = lines.append
    plan = watch.runs_root / "demo" / "plan.json"
    whole = plan.read_text()
    plan.write_text("{")
    assert not watch.update()
    assert lines
    assert lines[0].startswith("not written: ")
    plan.write_text(whole)
    assert watch.update()


def test_served_files(still: Watch, address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    page = get(address)
    assert page.replace('<script src="/watch/follow.js"></script>\n', "") == (still.folder / "index.html").read_text()
    assert "/watch/" not in (still.folder / "index.html").read_text(), "the folder on disk is unchanged"
    assert get(address, "watch/version") == "1"
    assert "location.reload" in get(address, "watch/follow.js")
    assert get(address, "table1.csv") == (still.folder / "table1.csv").read_text()


@pytest.mark.parametrize(
    "path", ["nothing.html", "gallery", "../../plan.json", "%2e%2e/%2e%2e/plan.json", "/etc/passwd"]
)
def test_unserved_paths(path: str, address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(address, path)
    assert refused.value.code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_foreign_host_names_are_refused(method: str, address: str) -> None:
    connection = HTTPConnection("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]), timeout=10)
    connection.request(method, "/table1.csv", headers={"Host": "elsewhere.example"})
    assert connection.getresponse().status == 403
    connection.close()


def test_a_port_in_use(still: Watch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"cannot serve on port {port}"), serving(still, port):
            pass


def test_records_are_checked_periodically(watch: Watch) -> None:
    watched = threading.Event()
    with serving(watch, every=0.05):
        (watch.runs_root / "demo/street-scenes/model-1/seed0/metrics.csv").write_text("step\n1\n")
        end = time.monotonic() + 30
        while watch.version == 1 and time.monotonic() < end:
            watched.wait(0.05)
    assert watch.version > 1


def test_the_command_serves_until_it_is_interrupted(watch: Watch) -> None:
    command = [sys.executable, "-m", "segmi.cli", "report", str(watch.runs_root / "demo"), "--watch"]
    reset = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # where the tests run in the background it is not
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}, preexec_fn=reset) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "demo" in get(line.split()[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_a_missing_folder(tmp_path: Path) -> None:
    from segmi.errors import UsageError

    with pytest.raises(UsageError, match="no folder"):
        Watch(tmp_path / "nowhere")
