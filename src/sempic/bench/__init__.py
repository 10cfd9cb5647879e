"""Measuring codecs on real files: `sempic bench --help`."""
