"""Reads files in blocks, decompressed, and cuts blocks into lines; memory stays flat whatever the input.

A broken archive gives everything up to the break, then `Broken`: what could be read is never lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import zstandard
from isal import isal_zlib

BLOCK = 4 << 20
_PIECE = 32 << 10  # an archive is inflated in pieces, so that damage costs little of what stands before it
_ZST_PIECE = 1 << 10  # four bytes of zstd can become 128 KiB, and its inflater knows no limit: small pieces do
_GZIP = 31  # window bits that ask for a gzip header


class Broken(Exception):  # noqa: N818 - becomes a quarantined row, not an error
    """The file ends or breaks in the middle."""


def blocks(path: Path, compression: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the decompressed content of a file, about 4 MiB at a time.

    Args:
        path: The file.
        compression: `""`, `"gz"` or `"zst"`.
        start: First byte, for an uncompressed file.
        end: Byte after the last, for an uncompressed file.

    Raises:
        Broken: The archive is damaged or truncated; what came before has been yielded.
    """
    with path.open("rb") as file:
        if compression:
            inflate, piece = (_gunzip, _PIECE) if compression == "gz" else (_unzstd, _ZST_PIECE)
            yield from _gathered(inflate(iter(lambda: file.read(piece), b"")))
            return
        file.seek(start)
        left = end - start if end is not None else None
        while left is None or left > 0:
            block = file.read(BLOCK if left is None else min(BLOCK, left))
            if not block:
                return
            if left is not None:
                left -= len(block)
            yield block


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    broken: Broken | None = None
    while True:
        try:
            piece = next(pieces, b"")
        except Broken as error:
            broken, piece = error, b""
        held.append(piece)
        size += len(piece)
        if size >= BLOCK or not piece:
            if size:
                yield b"".join(held)
            held, size = [], 0
        if broken is not None:
            raise broken
        if not piece:
            return


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    inflate = isal_zlib.decompressobj(_GZIP)
    started = False
    for data in raw:
        while data:
            if inflate.eof:  # another member follows, or padding
                data = data.lstrip(b"\x00")
                if not data:
                    break
                inflate = isal_zlib.decompressobj(_GZIP)
            started = True
            try:
                out = inflate.decompress(data, BLOCK)
            except (isal_zlib.error, ValueError, EOFError) as error:  # type: ignore[misc]  # the stub hides its base
                raise Broken("gzip") from error
            if out:
                yield out
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if started and not inflate.eof:
        raise Broken("gzip")


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zstandard.ZstdDecompressor().decompressobj()
    started = False
    for data in raw:
        while data:
            if inflate.eof:
                inflate = zstandard.ZstdDecompressor().decompressobj()
            started = True
            try:
                out = inflate.decompress(data)
            except zstandard.ZstdError as error:
                raise Broken("zstd") from error
            if out:
                yield out
            data = inflate.unused_data if inflate.eof else b""
    if started and not inflate.eof:
        raise Broken("zstd")


def regions(content: Iterator[bytes], longest: int) -> Iterator[bytes | None]:
    r"""Cut blocks at line ends: yield runs of whole lines without the last newline, or None for a line too long.

    Args:
        content: Blocks of bytes.
        longest: Length of the longest line that is let through, in bytes.

    >>> list(regions(iter([b"a\nb\nc", b"d\ne"]), 10))
    [b'a\nb', b'cd', b'e']
    """
    held: list[bytes] = []  # the unfinished line, as long as it is short enough
    size = 0
    for block in content:
        cut = block.rfind(b"\n")
        if cut < 0:
            size += len(block)
            held = [*held, block] if size <= longest else []
            continue
        start = 0
        if size:
            start = block.find(b"\n") + 1
            size += start - 1
            yield b"".join([*held, block[: start - 1]]) if size <= longest else None
        if start <= cut:
            yield from _short(block[start:cut], longest)
        held, size = [block[cut + 1 :]], len(block) - cut - 1
    if size:
        yield b"".join(held) if size <= longest else None


def _short(region: bytes, longest: int) -> Iterator[bytes | None]:
    """Leave out lines that are too long: a block may be larger than the limit, and must not hide one."""
    if len(region) <= longest:
        yield region
        return
    run: list[bytes] = []
    for line in region.split(b"\n"):
        if len(line) <= longest:
            run.append(line)
            continue
        if run:
            yield b"\n".join(run)
        yield None
        run = []
    if run:
        yield b"\n".join(run)
