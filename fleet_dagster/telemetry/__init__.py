"""StreamSight: what every node reports, stored, judged, exposed at /metrics and exported over OTLP."""
