"""Sends OpenLineage events to a server over HTTP. Nothing here runs at import, and nothing is sent unasked."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from mayo_data.errors import ConfigError, SourceError
from mayo_data.lineage.standards.writing import encoded
from mayo_data.types import Json

KEY = "OPENLINEAGE_API_KEY"
_TRIES = 4
_WAIT = 0.5  # seconds before the second try; doubled before each further one
_TIMEOUT = 30.0


def send(
    events: Iterable[Json],
    url: str,
    *,
    tries: int = _TRIES,
    wait: float = _WAIT,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Post events to an OpenLineage server, one request an event, in their order.

    Redirects and proxies are not followed: events go to the named host or nowhere. A server error, 429 or a lost
    connection is tried again. `$OPENLINEAGE_API_KEY`, where set, is sent as a bearer token.

    Args:
        events: Run events.
        url: The whole address, for example `http://localhost:5000/api/v1/lineage`.
        tries: How often an event is tried.
        wait: Seconds before the second try.
        sleep: What waits; for tests.

    Returns:
        How many events were taken.

    Raises:
        ConfigError: `url` is no http or https address.
        SourceError: The server refused an event, or was not reached. Events before it were taken.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise ConfigError(
            "--url takes an http or https address without a user name",
            hint=f"as http://localhost:5000/api/v1/lineage; a token goes into ${KEY}",
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "User-Agent": "mayo-data"}
    if token := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {token}"
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    sent = 0
    for event in events:
        body = encoded(event, indent=False).encode()
        said: int | None = None
        for turn in range(tries):
            if turn:
                sleep(wait * 2 ** (turn - 1))
            said = _post(make(host, port, timeout=_TIMEOUT), path, body, headers)
            if said is not None and not (said >= 500 or said == 429):
                break
        if said is None or not 200 <= said < 300:
            why = "was not reached" if said is None else f"answered {said}"
            raise SourceError(f"the OpenLineage server {why} at event {sent + 1}", hint="check --url, then send again")
        sent += 1
    return sent


def _post(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> int | None:
    """Return the status of the answer, or None where there was none."""
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
