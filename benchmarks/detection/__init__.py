"""The anomaly score on public measurements (Q1 to Q5): one module per data set, what they share in `trial` and `measures`."""
