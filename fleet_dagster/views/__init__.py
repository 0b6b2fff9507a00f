"""Figures, pictures and lists of anomalies for people to look at, made from stored rows alone; whoever shows them knows where."""
