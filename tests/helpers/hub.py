"""A server on loopback that speaks what the Hub's client needs of its protocol, and can misbehave."""

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 1 << 16


@dataclass
class Request:
    method: str
    path: str
    range: str | None
    authorized: bool


@dataclass
class Hub:
    """Serves `files` (path in "owner/repo/file" form, or "direct/file") until it is closed.

    Large files of repositories are served as the Hub does: HEAD answers with a redirect that carries
    the commit, the hash as ETag, and the size; GET of the redirect's target honours ranges.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next requests are answered with, one each; the last one stays when `stuck`."""
    stuck: bool = False
    cuts: int = 0
    """How many of the next downloads break off in the middle."""
    corrupt: int = 0
    """How many of the next downloads have a flipped bit."""
    silent: bool = False
    """Whether requests are never answered."""
    seconds_per_chunk: float = 0

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
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

    def __exit__(self, *ignored: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def downloads(self) -> list[Request]:
        return [
            r for r in self.requests if r.method == "GET" and r.path.startswith(("/cdn/", "/direct/"))
        ]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, headers = handler.path.split("?")[0], handler.headers
        authorized = "authorization" in headers
        self.requests.append(Request(handler.command, path, headers.get("Range"), authorized))
        if self.silent:
            self.closing.wait(60)
            handler.close_connection = True
            return
        if self.statuses:
            code, extra = self.statuses[0] if self.stuck else self.statuses.pop(0)
            self._send(handler, code, extra, b"")
            return
        if path.startswith("/api/models/"):
            repo = "/".join(path.split("/")[3:5])
            names = [n.removeprefix(f"{repo}/") for n in self.files if n.startswith(f"{repo}/")]
            tree = [{"type": "file", "path": n, "size": 1, "oid": "0" * 40} for n in names]
            siblings = [{"rfilename": n} for n in names]
            listing = tree if "/tree/" in path else {"id": repo, "sha": COMMIT, "siblings": siblings}
            self._send(handler, 200, {}, json.dumps(listing).encode())
        elif "/resolve/" in path:
            repo, _, rest = path[1:].partition("/resolve/")
            self._resolve(handler, f"{repo}/{rest.split('/', 1)[1]}")
        else:
            name = path.removeprefix("/cdn/").removeprefix("/")
            content = self.files.get(name)
            if content is None:
                self._send(handler, 404, {}, b"")
            else:
                self._send(handler, 200, {}, content)

    def _resolve(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        content = self.files.get(name)
        if content is None:
            code = (
                "EntryNotFound" if any(n.startswith(name.rsplit("/", 1)[0]) for n in self.files) else ""
            )
            self._send(
                handler, 404, {"X-Error-Code": code or "RepoNotFound", "X-Repo-Commit": COMMIT}, b""
            )
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
        if handler.command == "HEAD":
            return
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
