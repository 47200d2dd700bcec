"""A stub of the Hugging Face Hub on loopback: repositories can be created, filled and read."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_stub"
COMMIT = "c" * 40


class Hub:
    """The repositories of a stub, and the requests that it has had."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.url = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: Any = b"", **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def allowed(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def do_POST(self) -> None:
            hub.requests.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            if path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif not self.allowed():
                self.answer(401, {"error": "Invalid username or password."})
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                hub.repositories.setdefault(name, {})
                self.answer(200, {"url": f"{hub.url}/{name}", "name": name})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                told = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
                self.answer(200, {"files": told})
            elif "/commit/" in path:
                name = "/".join(path.split("/")[3:5])
                for line in body.splitlines():
                    value = json.loads(line)
                    if value["key"] == "file":
                        hub.repositories[name][value["value"]["path"]] = base64.b64decode(value["value"]["content"])
                self.answer(
                    200, {"commitUrl": f"{hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
                )
            else:
                self.answer(404, {"error": "unknown"})

        def do_GET(self) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            parts = self.path.partition("?")[0].strip("/").split("/")
            name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
            files = hub.repositories.get(name)
            if files is None:
                self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            elif "tree" in parts:
                tree = [{"type": "file", "path": p, "size": len(c), "oid": _oid(c)} for p, c in files.items()]
                self.answer(200, tree, Content_Type="application/json")
            elif parts[0] == "api":
                if parts[5:] and parts[5] not in ("main", COMMIT):
                    self.answer(404, {"error": "no revision"}, X_Error_Code="RevisionNotFound")
                    return
                siblings = [{"rfilename": path} for path in files]
                self.answer(200, {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []})
            elif "/".join(parts[4:]) in files:
                content = files["/".join(parts[4:])]
                self.answer(200, content, ETag=f'"{_oid(content)}"', X_Repo_Commit=COMMIT)
            else:
                self.answer(404, {"error": "no file"}, X_Error_Code="EntryNotFound")

        do_HEAD = do_GET  # noqa: N815 - so it is called

    return Handler


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    """A stub that answers while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
