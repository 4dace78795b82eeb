"""A token endpoint behind TLS, in a process of its own: it serves until its standard input ends."""

import json
import secrets
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi

CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
)


class Handler(BaseHTTPRequestHandler):
    """Give everybody a token: only the way to it is measured."""

    def do_POST(self) -> None:
        """Answer a token request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        token = {"access_token": secrets.token_urlsafe(64), "expires_in": 3600}
        body = json.dumps(token | {"token_type": "bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main(folder: Path) -> None:
    """Write the usual authorities and ours to ca.pem, print the address, then serve."""
    subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
    ours = (folder / "certificate.pem").read_text()
    (folder / "ca.pem").write_text(Path(certifi.where()).read_text() + ours)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"https://127.0.0.1:{server.server_port}/token", flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
