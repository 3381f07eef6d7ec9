"""A call of JSON over HTTP/1.1 at a Unix socket: the library's server, the connection kept."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from socketserver import UnixStreamServer

from benchmarks.asking import Exchange, asking
from benchmarks.programs import running

BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "daemon.hello", "params": {}}).encode()
END_OF_HEAD = b"\r\n\r\n"


@contextlib.contextmanager
def http(folder: Path) -> Iterator[dict[str, Exchange]]:
    """Run the server, and yield the call of a client that has prepared its request."""
    path = folder / "http.sock"
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    command = [sys.executable, "-m", "benchmarks.http_json", str(path)]
    with running(command), socket(AF_UNIX, SOCK_STREAM) as sock:
        sock.connect(str(path))
        yield {"HTTP, JSON": asking(sock, request % (len(BODY), BODY), _whole)}


def _whole(got: memoryview) -> bool:
    """Tell whether the head and as many bytes as it says have come."""
    head, end, body = bytes(got).partition(END_OF_HEAD)
    return bool(end) and len(body) == int(head.lower().split(b"content-length:")[1].split()[0])


class Answering(BaseHTTPRequestHandler):
    """Answers a call with its own id."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """The head and the body leave in one segment, as from servers that care."""

    def do_POST(self) -> None:
        """Decode the call and answer it."""
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


def main(path: str) -> None:
    """Serve one connection after the other, for ever."""
    with UnixStreamServer(path, Answering) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
