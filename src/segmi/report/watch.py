"""Serves a report on this machine alone and writes it anew while a study runs; open pages follow."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

WATCHED: Final = ("plan.json", "metrics.csv", "result.json", "failure.json", "selection.json")
"""The records of a study whose change changes its report."""

_LARGE: Final = (REPORT_FOLDER, "bundles", "checkpoints", "confusion", "details", "samples", "tensorboard")
"""Folders in which no record of these lies."""


def fingerprint(runs_root: Path) -> tuple[tuple[str, int, int], ...]:
    """The names, sizes and times of the records under a folder; equal ones need no new report."""
    found = []
    for folder, names, files in os.walk(runs_root):
        names[:] = [name for name in names if name not in _LARGE and not name.startswith(".")]
        for path in (Path(folder, name) for name in files if name in WATCHED):
            try:
                state = path.stat()
            except OSError:  # it is being replaced
                continue
            found.append((path.relative_to(runs_root).as_posix(), state.st_size, state.st_mtime_ns))
    return tuple(sorted(found))


class Watch:
    """Keeps a report up to date.

    Args:
        runs_root: as `write_report` takes it.
        out: likewise.
        images: likewise.
        tell: gets a line for every report that was written, and for every one that could not be.
    """

    def __init__(
        self,
        runs_root: Path,
        out: Path | None = None,
        *,
        images: bool = True,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.runs_root, self.out, self.images, self.tell = runs_root, out, images, tell
        self.folder = write_report(runs_root, out, images=images)
        self.version = 1
        self._seen = fingerprint(runs_root)

    def look(self) -> bool:
        """Write the report anew if a record has changed since the last time; whether it was written."""
        seen = fingerprint(self.runs_root)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.folder = write_report(self.runs_root, self.out, images=self.images)
        except SegmiError as error:  # a record that is half written is whole a moment later
            self.tell(f"not written: {error.message}")
            self._seen = ()
            return False
        self.version += 1
        self.tell(f"report {self.version} written")
        return True

    def forever(self, every: float, stop: threading.Event) -> None:
        """Look again and again until told to stop."""
        while not stop.wait(every):
            self.look()


@contextmanager
def serving(watch: Watch, port: int = 0, every: float = 5.0) -> Iterator[str]:
    """Serve a watched report while inside; yields its address.

    Args:
        watch: the report.
        port: of this machine; 0 takes a free one.
        every: seconds between two looks at the records.

    Raises:
        EnvironmentProblem: the port is taken.
    """
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, watch))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot serve on port {port}: {error.strerror or error}", "give another --port, or none for a free one"
        ) from error
    server.daemon_threads = True
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=watch.forever, args=(every, stop), daemon=True),
    ]
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
    """Return when the reader has had enough."""
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


class _Handler(SimpleHTTPRequestHandler):
    """Files of the report, and nothing to anybody who came by another name than this machine's own."""

    protocol_version = "HTTP/1.1"

    def __init__(self, watch: Watch, *arguments: Any, **options: Any) -> None:
        self.watch = watch
        super().__init__(*arguments, directory=str(watch.folder), **options)

    def do_GET(self) -> None:
        """Answer the two addresses of the watch; a page gets the script that follows them."""
        if not self._from_here():
            self.send_error(403, "expected to be asked for 127.0.0.1 or localhost")
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
        """The same to those who ask for the head alone."""
        if self._from_here():
            super().do_HEAD()
        else:
            self.send_error(403, "expected to be asked for 127.0.0.1 or localhost")

    def end_headers(self) -> None:
        """Nothing is kept by the browser: the next report has the same names."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are of no interest."""

    def list_directory(self, path: Any) -> None:
        """Folders are not listed."""
        self.send_error(404, "no such page")

    def _from_here(self) -> bool:
        """A page elsewhere must not read the report under a name of its own that leads here."""
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        return name in (LOOPBACK, "localhost")

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
