"""Serves a folder by HTTP or HTTPS on 127.0.0.1: Range requests are answered, or ignored."""

import contextlib
import http.server
import re
import ssl
import threading
from pathlib import Path


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD for files of `folder`, and ranges of them if `ranges`."""

    protocol_version = "HTTP/1.1"
    folder: Path
    ranges = True
    log: list

    def do_GET(self):
        self.log.append((self.path, self.headers.get("Range")))
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not (self.ranges and wanted):
            self.answer(200, path, 0, size)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or size), size - 1) + 1
        if start >= size:
            self.send_error(416)
            return
        content_range = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        self.answer(206, path, start, end, content_range)

    do_HEAD = do_GET

    def answer(self, code, path, start, end, headers=()):
        self.send_response(code)
        for name, value in {"Content-Length": end - start, **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file, contextlib.suppress(ConnectionError):
                file.seek(start)
                self.wfile.write(file.read(end - start))

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve_folder(folder, *, ranges=True, log=None, certificate=None):
    """Yields the URL under which the files of a folder are served.

    Args:
      folder: What to serve.
      ranges: Answer Range requests.
      log: A list that gets all requests.
      certificate: A file with certificate and key, for HTTPS.
    """
    settings = {"folder": Path(folder), "ranges": ranges, "log": [] if log is None else log}
    handler = type("Handler", (RangeHandler,), settings)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
