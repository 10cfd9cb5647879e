"""Write the pictures that arrive as UDP datagrams, in any order, with some of them lost and others among them.

python udp_receiver.py received --port 5005
"""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import suppress
from pathlib import Path

from inbox import Inbox


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets a file for each picture; made if need be")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; 0.0.0.0 for all of them")
    parser.add_argument("--port", type=int, default=5005, help="the port; 0 takes a free one; 5005 if left out")
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds until what is there is shown; 5 if left out")
    return parser.parse_args(words)


def main() -> None:
    """Receive until Ctrl-C."""
    asked = options()
    inbox = Inbox(asked.folder, asked.quiet)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((asked.host, asked.port))
        link.settimeout(min(1.0, asked.quiet))
        print(f"listening at {asked.host}:{link.getsockname()[1]}", flush=True)
        while True:
            with suppress(TimeoutError):
                inbox.add(link.recv(65535))
            inbox.show()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"{error}")
