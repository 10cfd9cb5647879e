"""Send a picture as UDP datagrams. With --lose, --twice and --mix it does what a bad link does, to try a receiver.

python udp_receiver.py received --port 5005 &
python udp_sender.py street.png --port 5005 --count 8 --survive 2 --lose 2 --mix
"""

from __future__ import annotations

import argparse
import random
import socket
import sys

import outbox

import sempic


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", help="a picture, or a stream (.smp)")
    parser.add_argument("--host", default="127.0.0.1", help="where the receiver is; this machine if left out")
    parser.add_argument("--port", type=int, default=5005, help="its port; 5005 if left out")
    outbox.add_options(parser)
    parser.add_argument("--lose", type=int, default=0, help="so many packets are not sent")
    parser.add_argument("--twice", action="store_true", help="send every packet twice")
    parser.add_argument("--mix", action="store_true", help="send the packets in any order")
    return parser.parse_args(words)


def main() -> None:
    """Send a picture."""
    asked = options()
    packets = outbox.packets(asked.picture, asked)
    sent = random.sample(packets, max(0, len(packets) - asked.lose)) * (1 + asked.twice)
    if asked.mix:
        random.shuffle(sent)
    else:
        sent.sort(key=packets.index)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        for packet in sent:
            link.sendto(packet, (asked.host, asked.port))
    print(f"{len(sent)} packets of {len(packets[0])} bytes to {asked.host}:{asked.port}")


if __name__ == "__main__":
    try:
        main()
    except (sempic.SempicError, OSError) as error:
        sys.exit(f"{error}")
