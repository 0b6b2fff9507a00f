"""Bringing stored tables up to date: read what is current, compute what is not, write through the one door."""
