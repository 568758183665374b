"""Stores that lie in an object store: fetched into a folder of this machine, and opened there."""

from __future__ import annotations

from pathlib import Path

from mayo_data.lineage.ledger import Ledger
from mayo_data.store import remote


def fetch(url: str, folder: Path | str | None = None, snapshot: str | None = None) -> Path:
    """Bring a store from an object store into a folder, or bring the folder up to date: `md.fetch`.

    Only what is missing is downloaded, and every file is compared with its digest. What this copy has put into its
    ledger (who read what) stays there, after what the ledger there says.

    Args:
        url: `s3://BUCKET/PREFIX` or `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX`.
        folder: Where to; by default a folder of the cache (`$MAYO_DATA_CACHE`, else `~/.cache/mayo-data`).
        snapshot: Name of a snapshot; the newest by default.

    Returns:
        The folder of the store, for `md.open` and `md.connect`.

    Raises:
        StoreError: There is no such store or snapshot, or what came is not what was published.
        ConfigError: The URL is of no known kind, or its client is not installed.
    """
    root = Path(folder) if folder is not None else remote.cached(url)
    remote.fetch(url, root, lambda path, content: Ledger(path).adopt(content), snapshot)
    return root
