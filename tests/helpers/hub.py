"""A server on the loopback interface that plays the Hugging Face Hub and can misbehave on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""The only commit of every repository."""
CHUNK = 1 << 16
"""Bytes that are sent at once."""


@dataclass(frozen=True)
class Request:
    """A request that the server received."""

    method: str
    path: str
    range: str | None
    """The value of its Range header."""
    authorized: bool
    """True if it contained a token."""


UNRELATED = "/api/agent-harnesses"
"""What the client may ask for at any time, for reasons of its own."""


@dataclass
class Hub:
    """A server that serves `files` until it is closed. Use it as a context manager.

    Files of repositories are served as the Hub serves large files. HEAD answers with a redirect that
    contains the commit, the hash as ETag, and the size. GET of the redirect's target supports ranges.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by path: "owner/repo/file" for the Hub, "direct/file" for a plain URL."""
    requests: list[Request] = field(default_factory=list)
    """Every request so far."""
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers with which the next requests are answered, one each."""
    stuck: bool = False
    """True if the first status answers all requests."""
    cuts: int = 0
    """Number of the next downloads that break off in the middle."""
    corrupt: int = 0
    """Number of the next downloads in which a bit is flipped."""
    silent: bool = False
    """True if requests are never answered."""
    seconds_per_chunk: float = 0
    """Pause after each chunk of a download."""

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.closing = threading.Event()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.cdn = f"http://localhost:{self.server.server_port}/cdn"  # another host for the client
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def downloads(self) -> list[Request]:
        """Return the requests for the content of a file."""
        return [
            r for r in self.requests if r.method == "GET" and r.path.startswith(("/cdn/", "/direct/"))
        ]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path, headers = handler.path.split("?")[0], handler.headers
        authorized = "authorization" in headers
        self.requests.append(Request(handler.command, path, headers.get("Range"), authorized))
        if self.silent:
            self.closing.wait(60)
            handler.close_connection = True
        elif self.statuses and not handler.path.startswith(UNRELATED):
            code, extra = self.statuses[0] if self.stuck else self.statuses.pop(0)
            self._send(handler, code, extra, b"")
        elif path.startswith("/api/models/"):
            self._send(handler, 200, {}, self._listing(path))
        elif "/resolve/" in path:
            repo, _, rest = path[1:].partition("/resolve/")
            self._redirect(handler, f"{repo}/{rest.split('/', 1)[1]}")
        else:
            content = self.files.get(path.removeprefix("/cdn/").removeprefix("/"))
            self._send(handler, 404 if content is None else 200, {}, content or b"")

    def _listing(self, path: str) -> bytes:
        """Return the files of a repository as JSON."""
        repo = "/".join(path.split("/")[3:5])
        names = [n.removeprefix(f"{repo}/") for n in self.files if n.startswith(f"{repo}/")]
        tree = []
        for name in names:
            content = self.files[f"{repo}/{name}"]
            file = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            oid = hashlib.sha256(content).hexdigest()
            tree.append(file | {"lfs": {"oid": oid, "size": len(content), "pointerSize": 130}})
        siblings = [{"rfilename": n} for n in names]
        listing = tree if "/tree/" in path else {"id": repo, "sha": COMMIT, "siblings": siblings}
        return json.dumps(listing).encode()

    def _redirect(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        """Answer a request for a file of a repository."""
        content = self.files.get(name)
        if content is None:
            repo = name.rsplit("/", 1)[0]
            code = "EntryNotFound" if any(n.startswith(repo) for n in self.files) else "RepoNotFound"
            self._send(handler, 404, {"X-Error-Code": code, "X-Repo-Commit": COMMIT}, b"")
            return
        linked = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{self.cdn}/{name}",
        }
        self._send(handler, 302, linked, b"")

    def _send(
        self, handler: BaseHTTPRequestHandler, code: int, headers: dict[str, str], content: bytes
    ) -> None:
        start = 0
        if code == 200 and (wanted := handler.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            code = 206
        body = content[start:]
        handler.send_response(code)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            self._send_body(handler, body)

    def _send_body(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Send the content, damaged if that is due."""
        download = handler.path.startswith(("/cdn/", "/direct/"))
        if download and self.corrupt:
            self.corrupt -= 1
            body = body[:-1] + bytes([body[-1] ^ 1])
        if download and self.cuts:
            self.cuts -= 1
            body, handler.close_connection = body[: len(body) // 2], True
        for at in range(0, len(body), CHUNK):
            try:
                handler.wfile.write(body[at : at + CHUNK])
            except OSError:
                return
            time.sleep(self.seconds_per_chunk)
