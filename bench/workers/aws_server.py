"""A stand-in for AWS in a process of its own: it serves until its standard input ends."""

import logging
import sys

from moto.server import ThreadedMotoServer


def main() -> None:
    """Print the address, then serve."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
