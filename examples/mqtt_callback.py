"""Write the pictures whose packets arrive as MQTT messages. `on_message` is what paho-mqtt calls for each of them.

Run as a command, it needs no broker: a stand-in publishes the packets of a picture, in any order and without some.

    python mqtt_callback.py street.png received --count 8 --survive 2 --lose 2
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import outbox
from inbox import Inbox

import sempic


def on_message(client: Any, userdata: Inbox, message: Any) -> None:
    """Take a message; `client.on_message = on_message` and `client.user_data_set(Inbox(folder))` make paho call it."""
    userdata.add(message.payload)
    userdata.show()


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", help="a picture, or a stream (.smp)")
    parser.add_argument("folder", type=Path, help="gets the picture that arrives; made if need be")
    outbox.add_options(parser)
    parser.add_argument("--lose", type=int, default=0, help="so many packets are not published")
    return parser.parse_args(words)


def main() -> None:
    """Publish a picture, and receive it."""
    asked = options()
    inbox = Inbox(asked.folder, quiet=1)
    packets = outbox.packets(asked.picture, asked)
    for packet in random.sample(packets, max(0, len(packets) - asked.lose)):
        on_message(None, inbox, SimpleNamespace(topic="pictures", payload=packet))
    time.sleep(inbox.quiet)
    inbox.show()


if __name__ == "__main__":
    try:
        main()
    except (sempic.SempicError, OSError) as error:
        sys.exit(f"{error}")
