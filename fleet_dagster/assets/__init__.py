"""Dagster shells, one module per node, named as the nodes: read, call, write, report."""
