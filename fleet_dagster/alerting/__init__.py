"""Alerts: what needs somebody is told once, to those who want to know, and again when it is over."""
