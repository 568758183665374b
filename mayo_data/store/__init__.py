"""The store: immutable snapshots of timelines, their manifest and catalog, and the rules they keep.

Submodules are imported by name (`from mayo_data.store import layout`), so that nobody loads DuckDB who only
wants to know where a snapshot lies.
"""
