"""The report of a store that a privacy officer signs: its facts, and how they are written down.

`facts.gather` collects, once, everything that is said; `page`, `markdown` and JSON say it; `evidence` packs it.
"""
