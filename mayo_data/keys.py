"""The site's secret and everything derived from it: pseudonyms, date offsets, splits.

All derivations are stateless HMAC-SHA256 with a domain name in front, so that every worker on every machine
agrees, no codebook exists, and an encounter's pseudonym tells nothing about a subject's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import shlex
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mayo_data.errors import KeyMissingError

ENVIRONMENT = "MAYO_DATA_KEY"
COMMAND = "MAYO_DATA_KEY_COMMAND"
_PATIENCE = 60  # seconds that a vault may take
_BYTES = 32


class Secret:
    """A 256-bit key that never shows itself: not in `repr`, not in an error, not in a log.

    Raises:
        KeyMissingError: `raw` is not 32 bytes long.

    >>> Secret(bytes(32))
    Secret(key_id='...')
    >>> Secret(bytes(32)).subject_id("Patient/1") == Secret(bytes(32)).subject_id("Patient/1")
    True
    """

    __slots__ = ("_inner", "_outer", "_raw", "key_id")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _BYTES:
            del raw  # nothing of it may stand in a traceback that shows variables
            raise KeyMissingError("a key has 32 bytes", hint="make one with: mayo-data keygen --out site.key")
        self._raw = raw
        # HMAC (RFC 2104) with the key's two blocks hashed once: pseudonyms are made by the million.
        block = raw.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self.key_id = self._digest(b"key-id").hex()[:12]

    def __reduce__(self) -> tuple[type[Secret], tuple[bytes]]:
        return Secret, (self._raw,)

    def _digest(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return f"Secret(key_id={getattr(self, 'key_id', None)!r})"

    def derive(self, domain: str) -> bytes:
        """Return a 32-byte subkey for one purpose.

        >>> len(Secret(bytes(32)).derive("vault"))
        32
        """
        return self._digest(b"derive\x00" + domain.encode())

    def digest(self, domain: str, value: str) -> bytes:
        """Return the 32-byte keyed digest of a value within a domain.

        >>> Secret(bytes(32)).digest("a", "x") != Secret(bytes(32)).digest("b", "x")
        True
        """
        return self._digest(f"{domain}\x00{value}".encode("utf-8", "surrogatepass"))

    def integer(self, domain: str, value: str) -> int:
        """Return a keyed 63-bit non-negative integer.

        >>> 0 <= Secret(bytes(32)).integer("encounter", "1") < 2**63
        True
        """
        return int.from_bytes(self.digest(domain, value)[:8], "big") >> 1

    def integers(
        self, domain: str, values: npt.NDArray[np.int64], more: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.int64]:
        """Return keyed 63-bit non-negative integers for a whole column of numbers, at the speed of AES.

        AES-256 under a subkey of the domain is a keyed permutation of 16-byte blocks: one block a number, cut to
        63 bits. As hard to invert as `integer`, and some hundred times faster.

        Args:
            domain: What the numbers name, for example `omop:measurement`.
            values: Numbers, signed 64 bits.
            more: A second number each, where the first alone does not name it; 0 is as good as none.

        >>> Secret(bytes(32)).integers("a", np.array([1, 2, 1])).tolist()[0] >= 0
        True
        """
        blocks = np.zeros((len(values), 2), dtype=">i8")
        blocks[:, 0] = values
        if more is not None:
            blocks[:, 1] = more
        # ECB is what is meant: equal numbers must give equal pseudonyms, and no two blocks of a column are one text.
        cipher = Cipher(algorithms.AES(self.derive("integers/" + domain)), modes.ECB()).encryptor()  # noqa: S305
        sealed = np.frombuffer(cipher.update(blocks.tobytes()), dtype=">u8").reshape(-1, 2)[:, 0]
        return (sealed.astype(np.uint64) >> np.uint64(1)).astype(np.int64)

    def subject_id(self, person: str) -> int:
        """Return the `subject_id` of a person, 63 bits.

        Args:
            person: What names the person in the source, for example `Patient/123`.

        >>> Secret(bytes(32)).subject_id("Patient/1") != Secret(bytes(32)).subject_id("Patient/2")
        True
        """
        return self.integer("subject", person)

    def offset_days(self, subject_id: int, *, most: int = 365) -> int:
        """Return the one date offset of a subject, in days, in [-most, -1] or [1, most]: never zero.

        The same in FHIR, OMOP and text, so that intervals stay exact.

        >>> all(Secret(bytes(32)).offset_days(s) != 0 for s in range(1000))
        True
        """
        step = self.integer("date-offset", str(subject_id)) % (2 * most)
        return step - most if step < most else step - most + 1

    def turn(self, path: str) -> bytes:
        """Return when a document's turn comes, by its path: an order that tells nothing about the names of files.

        >>> Secret(bytes(32)).turn("a.json") == Secret(bytes(32)).turn("a.json") != Secret(bytes(32)).turn("b.json")
        True
        """
        return self.digest("turn", path)

    def fraction(self, domain: str, value: str) -> float:
        """Return a keyed number in [0, 1), for splits that stay when subjects are added.

        >>> 0 <= Secret(bytes(32)).fraction("split", "1") < 1
        True
        """
        return self.integer(domain, value) / 2**63


def generate(path: Path) -> Secret:
    """Make a new random key file that only its owner can read (mode 0600).

    Raises:
        KeyMissingError: The file exists: a key is never overwritten, its store would be lost.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyMissingError(
            "the key file exists already and is not overwritten", hint="choose another --out"
        ) from error
    except OSError as error:
        raise KeyMissingError(
            f"the key file cannot be written: {error.strerror}", hint="choose another --out"
        ) from error
    secret = Secret(secrets.token_bytes(_BYTES))
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(secret._raw) + b"\n")  # noqa: SLF001 - the one place where it is written
    return secret


def load(path: Path | None = None) -> Secret:
    """Read the key from a file, else from the environment, else from a command. There is no default.

    Args:
        path: The key file. Without one, the environment variable `MAYO_DATA_KEY` is the key itself, or
            `MAYO_DATA_KEY_COMMAND` is a command line that prints it, for example that of a vault. No shell sees the
            command, and what it says on failure is not shown.

    Raises:
        KeyMissingError: No key is given, or what is given is not 32 base64-coded bytes.
    """
    try:
        return Secret(base64.b64decode(_given(path).strip(), validate=True))
    except (binascii.Error, ValueError):
        pass  # what is raised from here would carry frames in which the key stands
    raise KeyMissingError("the key is not base64", hint="make one with: mayo-data keygen --out site.key")


def _given(path: Path | None) -> str:
    """The key as it is written."""
    if path is not None:
        try:
            return path.read_text(encoding="ascii")
        except OSError:
            found = "cannot be read"
        except UnicodeDecodeError:
            found = "is not base64"  # the error itself holds what was read
        raise KeyMissingError(f"the key file {found}", hint="make one with: mayo-data keygen --out site.key")
    if os.environ.get(ENVIRONMENT):
        return os.environ[ENVIRONMENT]
    if os.environ.get(COMMAND):
        return _asked(os.environ[COMMAND])
    raise KeyMissingError(
        "no key: nothing is scrubbed without one",
        hint=f"give --key-file FILE, or set {ENVIRONMENT} or {COMMAND}; make one with: mayo-data keygen --out site.key",
    )


def _asked(command: str) -> str:
    """What a command prints. Its own messages are not shown: a vault may say there whom it let in, or why not."""
    try:
        done = subprocess.run(  # noqa: S603 - the site's own command, without a shell
            shlex.split(command), capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE, check=False
        )
        if done.returncode == 0:
            return done.stdout.decode("ascii", "replace")
        found = f"ended with exit code {done.returncode}"
        del done
    except subprocess.TimeoutExpired:
        found = f"gave no key within {_PATIENCE} s"
    except (OSError, ValueError) as error:
        found = f"cannot be run: {type(error).__name__}"
    raise KeyMissingError(
        f"{COMMAND} {found}", hint="it is a program and its arguments, without a shell; try it by hand"
    )


def fingerprint(*parts: str) -> str:
    """Return a 16-digit hex digest that names a stage, a policy or a run by its content; not keyed.

    >>> fingerprint("a", "b") != fingerprint("ab")
    True
    """
    joined = "\x00".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
