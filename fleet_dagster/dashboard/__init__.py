"""The web page of a fleet as it is now: what it shows, how that is pushed, and who may see and do what."""
