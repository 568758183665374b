"""Reads files in blocks, decompressed, and cuts blocks into lines; memory stays flat whatever the input.

A broken archive gives everything up to the break, then `Broken`: what could be read is never lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, Protocol

import zstandard
from isal import isal_zlib

BLOCK = 4 << 20
_PIECE = 32 << 10  # an archive is inflated in pieces, so that damage costs little of what stands before it
_ZST_PIECE = 1 << 10  # four bytes of zstd can become 128 KiB, and its inflater knows no limit: small pieces do
_MOST_TIMES = 400  # that an archive may hold its own size; exports pack ten to fifty times
_HARMLESS = 256 << 20  # bytes that any archive may hold
_GZIP = 31  # window bits that ask for a gzip header


class Broken(Exception):  # noqa: N818 - becomes a quarantined row, not an error
    """The file ends or breaks in the middle; `reason` is that of the row which says so."""

    reason = "corrupt_file"


class Bomb(Broken):
    """The archive holds so much more than its size that it can only be meant to do harm."""

    reason = "zip_bomb"


Seen = Callable[[bytes], object]


class Opens(Protocol):
    """What `blocks` reads: a `Path`, or a file of an object store."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it for reading."""
        ...


def blocks(
    path: Opens,
    compression: str,
    start: int = 0,
    end: int | None = None,
    *,
    seen: Callable[[bytes], object] | None = None,
) -> Iterator[bytes]:
    """Yield the decompressed content of a file, about 4 MiB at a time.

    Args:
        path: The file.
        compression: `""`, `"gz"` or `"zst"`.
        start: First byte of the content that is wanted. An archive is inflated up to there.
        end: Byte after the last of the content that is wanted.
        seen: Told every byte as it is stored, for a digest of the file.

    Raises:
        Broken: The archive is damaged, truncated or a bomb; what came before has been yielded.
    """
    with path.open("rb") as file:
        if not compression:
            file.seek(start)
            yield from _stored(file, end - start if end is not None else None, seen)
            return
        inflate, piece = (_gunzip, _PIECE) if compression == "gz" else (_unzstd, _ZST_PIECE)
        stored = _stored(file, None, seen)
        pieces = (block[at : at + piece] for block in stored for at in range(0, len(block), piece))
        most = max(file.seek(0, os.SEEK_END) * _MOST_TIMES, _HARMLESS)
        file.seek(0)
        yield from _window(_limited(_gathered(inflate(pieces)), most), start, end)


def _stored(file: BinaryIO, left: int | None, seen: Seen | None) -> Iterator[bytes]:
    """Read a file as it is stored: a request of an object store fetches as much as a block."""
    while left is None or left > 0:
        block = file.read(BLOCK if left is None else min(BLOCK, left))
        if not block:
            return
        if seen is not None:
            seen(block)
        if left is not None:
            left -= len(block)
        yield block


def _limited(content: Iterator[bytes], most: int) -> Iterator[bytes]:
    for block in content:
        most -= len(block)
        if most < 0:
            raise Bomb
        yield block


def _window(content: Iterator[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """Cut what lies between two places out of a content."""
    at = 0
    for block in content:
        here, at = at, at + len(block)
        if at <= start:
            continue
        if here < start or (end is not None and at > end):
            block = block[max(start - here, 0) : None if end is None else end - here]
        yield block
        if end is not None and at >= end:
            return


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


def regions(content: Iterator[bytes], longest: int) -> Iterator[bytes | int]:
    r"""Cut blocks at line ends: yield runs of whole lines without the last newline, or the length of a line too long.

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
            yield b"".join([*held, block[: start - 1]]) if size <= longest else size
        if start <= cut:
            yield from _short(block[start:cut], longest)
        held, size = [block[cut + 1 :]], len(block) - cut - 1
    if size:
        yield b"".join(held) if size <= longest else size


def _short(region: bytes, longest: int) -> Iterator[bytes | int]:
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
        yield len(line)
        run = []
    if run:
        yield b"\n".join(run)
