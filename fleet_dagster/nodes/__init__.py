"""One module per node of the pipeline: plain functions on frames, without Dagster and without storage."""
