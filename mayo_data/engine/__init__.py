"""Engines: where stages run. An engine has two verbs, map and shuffle."""
