"""Timelines: the events of a subject, one version of each, in order."""
