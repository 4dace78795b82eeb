"""An authorization server in a process of its own: it serves until its standard input ends."""

import os
import sys

from job.core.secret import Secret
from job.demo.server import AuthorizationServer


def main() -> None:
    """Print the address of the token endpoint, then serve as many clients as the argument says."""
    secret = Secret(os.environ["BENCH_SECRET"])
    clients = {f"client-{number}": secret for number in range(int(sys.argv[1]))}
    with AuthorizationServer(clients) as server:
        print(server.token_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
