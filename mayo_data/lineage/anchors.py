"""Anchors: the end of a ledger, written down where whoever can write the ledger cannot.

A chain shows that a record was changed, unless all that follows was made anew. An anchor shows that too: it holds
number and digest of the last record, and may be signed with a key of the site (Ed25519, RFC 8032). Keep anchors apart
from the store, and the private key apart from both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mayo_data.errors import ConfigError, KeyMissingError
from mayo_data.lineage.ledger import Ledger, Problem, stamp

FORMAT = 1
_SEALED = b"mayo-data ledger anchor\n"


@dataclass(frozen=True)
class Anchor:
    """Number and digest of a record that was the last one at some time.

    Attributes:
        seq: Its number, from 1; 0 for an empty ledger.
        digest: Its digest, hex.
        at: When it was written down: ISO 8601, UTC.
        signature: Ed25519 signature of the three, hex; empty where there is none.

    >>> Anchor(1, "ab", "2026-01-01T00:00:00+00:00").signature
    ''
    """

    seq: int
    digest: str
    at: str
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        body = {"at": self.at, "digest": self.digest, "format": FORMAT, "seq": self.seq}
        return _SEALED + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def generate(path: Path) -> Path:
    """Make a key pair for signing anchors: the private key as PEM, mode 0600, and the public one beside it.

    Args:
        path: The private key; the public one is `PATH.pub`.

    Returns:
        Path of the public key.

    Raises:
        KeyMissingError: A file exists: a key is never overwritten; or it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    for file, content, mode in ((path, private, 0o600), (beside, public, 0o644)):
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
        except FileExistsError as error:
            raise KeyMissingError(
                "the key file exists already and is not overwritten", hint="choose another"
            ) from error
        except OSError as error:
            raise KeyMissingError(f"the key file cannot be written: {error.strerror}", hint="choose another") from error
    return beside


def anchor(ledger: Ledger, out: Path, *, key: Path | None = None) -> Anchor:
    """Write down the end of a ledger.

    Args:
        ledger: The ledger.
        out: Where to; not inside the store. An anchor is never overwritten.
        key: Private key that signs it, PEM.

    Raises:
        ConfigError: The file exists already, or cannot be written.
        KeyMissingError: The key cannot be read, or is no Ed25519 key.
        StoreError: The last line of the ledger is no sound record.
    """
    seq, digest = ledger.end()
    made = Anchor(seq, digest, stamp(None))
    if key is not None:
        made = Anchor(seq, digest, made.at, _private(key).sign(made.message).hex())
    body: dict[str, object] = {"at": made.at, "digest": digest, "format": FORMAT, "seq": seq}
    if made.signature:
        body["signature"] = made.signature
    try:
        with out.open("xb") as file:
            file.write(orjson.dumps(body, option=orjson.OPT_SORT_KEYS) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigError("the anchor exists already and is not overwritten", hint="choose another --out") from error
    except OSError as error:
        raise ConfigError(f"the anchor cannot be written: {error.strerror}", hint="choose another --out") from error
    return made


def check(found: Sequence[Path], *, public_key: Path | None = None) -> tuple[list[str], list[Problem]]:
    """Read anchors, and verify who signed them.

    Args:
        found: The files.
        public_key: Public key of the site, PEM: then every anchor must bear a signature by it.

    Returns:
        The digests that must be in the chain, for `ledger.verify`; and what is wrong with the anchors themselves.

    Raises:
        ConfigError: A file is no anchor.
        KeyMissingError: The key cannot be read, or is no Ed25519 key.
    """
    key = _public(public_key) if public_key else None
    anchors = [_read(path) for path in found]
    problems = []
    for one in anchors:
        if key is None:
            continue
        try:
            key.verify(bytes.fromhex(one.signature), one.message)
        except (InvalidSignature, ValueError):
            problems.append(Problem(0, "signature", "an anchor is not signed by this key, or was changed"))
    return [one.digest for one in anchors], problems


def _read(path: Path) -> Anchor:
    try:
        body = orjson.loads(path.read_bytes())
        found = Anchor(body["seq"], body["digest"], body["at"], body.get("signature", ""))
    except (OSError, KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise ConfigError("the anchor cannot be read", hint="mayo-data ledger anchor writes one") from error
    texts = (found.digest, found.at, found.signature)
    if body.get("format") != FORMAT or type(found.seq) is not int or not all(isinstance(text, str) for text in texts):
        raise ConfigError("the anchor is of another form", hint="mayo-data ledger anchor writes one")
    return found


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyMissingError("the signing key cannot be read", hint="mayo-data ledger keygen makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMissingError("the signing key is no Ed25519 key", hint="mayo-data ledger keygen makes one")
    return key


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyMissingError("the public key cannot be read", hint="mayo-data ledger keygen writes it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyMissingError("the public key is no Ed25519 key", hint="mayo-data ledger keygen writes it")
    return key
