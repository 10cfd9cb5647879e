"""`python -m sempic`: the command `sempic`."""

from sempic.cli import main

main()
