"""What the project measures about itself; run with `make bench` and `make quality`."""
