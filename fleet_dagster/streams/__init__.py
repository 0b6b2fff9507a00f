"""Streams: the commit log of a table followed in order by consumers that remember how far they have come, and retention."""
