"""Codecs without meaning: the standards of picture coding, less the bytes that both sides can work out."""
