"""The terminal's view of a fleet: what there is to see, and how it is drawn. What reads keys and owns the screen is `cli/console.py`."""
