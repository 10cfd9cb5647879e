"""Training: the only room of the house with torch. Nothing imports it at run time.

`sempic train --help` lists the recipes; `docs/training.md` describes them.
"""
