"""Server of a report on this machine that rebuilds it while a study runs; open pages reload."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem, SegmiError
from segmi.report.build_report import REPORT_FOLDER, write_report
from segmi.report.page import asset

LOOPBACK: Final = "127.0.0.1"
VERSION_ADDRESS: Final = "/watch/version"
SCRIPT_ADDRESS: Final = "/watch/follow.js"

# Records that a report depends on, and folders without such records.
WATCHED: Final = ("plan.json", "metrics.csv", "result.json", "failure.json", "selection.json")
_LARGE: Final = (REPORT_FOLDER, "bundles", "checkpoints", "confusion", "details", "samples", "tensorboard")


def fingerprint(runs_root: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times of the records in a folder; a report is rebuilt when they change."""
    states = []
    for folder, names, files in os.walk(runs_root):
        names[:] = [name for name in names if name not in _LARGE and not name.startswith(".")]
        for path in (Path(folder, name) for name in files if name in WATCHED):
            with suppress(OSError):  # the file is being replaced
                state = path.stat()
                states.append((path.relative_to(runs_root).as_posix(), state.st_size, state.st_mtime_ns))
    return tuple(sorted(states))


class Watch:
    """Report that is rebuilt when its records change.

    Args: see `write_report`; ``log`` receives a line for every report that is written or cannot be written.
    """

    def __init__(
        self,
        runs_root: Path,
        out: Path | None = None,
        *,
        images: bool = True,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.runs_root, self.out, self.images, self.log = runs_root, out, images, log
        self.folder = write_report(runs_root, out, images=images)
        self.version = 1
        self._seen = fingerprint(runs_root)

    def update(self) -> bool:
        """Rebuild the report if a record has changed since the last call; returns whether it was written."""
        seen = fingerprint(self.runs_root)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.folder = write_report(self.runs_root, self.out, images=self.images)
        except SegmiError as error:  # an incomplete record is complete at the next call
            self.log(f"not written: {error.message}")
            self._seen = ()
            return False
        self.version += 1
        self.log(f"report {self.version} written")
        return True

    def forever(self, every: float, stop: threading.Event) -> None:
        """Update periodically until ``stop`` is set."""
        while not stop.wait(every):
            self.update()


@contextmanager
def serving(watch: Watch, port: int = 0, every: float = 5.0) -> Iterator[str]:
    """Context manager that serves a report; yields its address.

    Args:
        watch: the report.
        port: port of this machine; 0 selects a free one.
        every: seconds between two checks of the records.

    Raises: EnvironmentProblem if the port is in use.
    """
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, watch))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot serve on port {port}: {error.strerror or error}", "give another --port, or omit it for a free one"
        ) from error
    server.daemon_threads = True
    stop = threading.Event()
    targets = (server.serve_forever, partial(watch.forever, every, stop))
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def wait_for_interrupt() -> None:
    """Block until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


class _Handler(SimpleHTTPRequestHandler):
    """Handler for the files of the report; requests under another host name are refused (DNS rebinding)."""

    protocol_version = "HTTP/1.1"

    def __init__(self, watch: Watch, *arguments: Any, **options: Any) -> None:
        self.watch = watch
        super().__init__(*arguments, directory=str(watch.folder), **options)

    def do_GET(self) -> None:
        """Answer the addresses of the watch and add its script to pages."""
        if self._refused():
            return
        path = self.path.partition("?")[0]
        if path == VERSION_ADDRESS:
            self._send(str(self.watch.version), "text/plain")
        elif path == SCRIPT_ADDRESS:
            self._send(asset("follow.js"), "text/javascript")
        elif path.endswith("/") or path.endswith(".html"):
            self._send_page(path)
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        """Answer a HEAD request."""
        if not self._refused():
            super().do_HEAD()

    def end_headers(self) -> None:
        """Disable the cache, because the next report has the same file names."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Do not log requests."""

    def list_directory(self, path: Any) -> None:
        """Do not list folders."""
        self.send_error(404, "no such page")

    def _refused(self) -> bool:
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        local = name in (LOOPBACK, "localhost")
        if not local:
            self.send_error(403, "expected the host 127.0.0.1 or localhost")
        return not local

    def _send_page(self, path: str) -> None:
        file = Path(self.translate_path(path))
        file = file / "index.html" if file.is_dir() else file
        try:
            text = file.read_text(encoding="utf-8")
        except OSError:
            self.send_error(404, "no such page")
            return
        self._send(text.replace("</body>", f'<script src="{SCRIPT_ADDRESS}"></script>\n</body>'), "text/html")

    def _send(self, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
