"""Measuring codecs on real files: `python -m sempic.bench --help`."""
