"""Who may ask a served model: whoever shows the key. The key comes from a file or the environment, never from code."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mayo_data.errors import KeyMissingError

ENVIRONMENT = "MAYO_DATA_API_KEY"
_KEY = re.compile(r"[!-~]{16,512}")
_HINT = f"give --api-key-file FILE or set {ENVIRONMENT}: at least 16 characters, without spaces"


class Access:
    """Compares what a client shows with the key; keeps only a digest of it.

    >>> Access("0123456789abcdef").permits({"api-key": "0123456789abcdef"})
    True
    >>> Access("0123456789abcdef").permits({"authorization": "Bearer something else"})
    False
    """

    def __init__(self, key: str) -> None:
        self._digest = _digest(key)

    def __repr__(self) -> str:
        return "Access()"

    def permits(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request shows the key: in `api-key` (Azure), or as a bearer token.

        The comparison takes the same time wherever the two differ.

        Args:
            headers: Of the request, names in lower case.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = [headers.get("api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
        return any([hmac.compare_digest(_digest(one), self._digest) for one in shown])  # noqa: C419 - both, always


def load(path: Path | None = None) -> Access:
    """Read the key from a file, else from the environment variable `MAYO_DATA_API_KEY`. There is no default.

    Raises:
        KeyMissingError: There is no key, or it is too short to be one.
    """
    if path is None:
        text = os.environ.get(ENVIRONMENT, "")
    else:
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyMissingError("the file of the API key cannot be read", hint=_HINT) from error
    if not text.strip():
        raise KeyMissingError("no API key: a model is not served without one", hint=_HINT)
    if not _KEY.fullmatch(text.strip()):
        raise KeyMissingError("the API key is too short, or holds spaces or characters beyond ASCII", hint=_HINT)
    return Access(text.strip())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
