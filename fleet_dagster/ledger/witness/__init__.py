"""Witnesses: whoever vouches, on a machine of their own, that somebody's ledger only grew; and the ledger's side of it."""
