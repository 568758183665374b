from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.sources import blocks as module
from mayo_data.sources.blocks import BLOCK, Bomb, Broken, blocks, regions

CONTENT = b"".join(b'{"line":%d}\n' % number for number in range(40_000))


def chunks(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        if at < len(content):
            yield content[at : at + size]
            at += size
    if at < len(content):
        yield content[at:]


def as_lines(found: Iterator[bytes | int]) -> list[bytes | int]:
    out: list[bytes | int] = []
    for region in found:
        out += [region] if isinstance(region, int) else region.split(b"\n")
    return out


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"x")), max_size=12),
    st.lists(st.integers(1, 9), max_size=40),
    st.integers(1, 14),
    st.booleans(),
)
def test_any_chunking_gives_the_same_lines(wanted: list[bytes], sizes: list[int], longest: int, closed: bool) -> None:
    content = b"\n".join(wanted) + (b"\n" if closed and wanted else b"")
    expected: list[bytes | int] = [line if len(line) <= longest else len(line) for line in content.split(b"\n")]
    if expected and expected[-1] == b"":
        expected.pop()  # what follows the last newline is no line
    assert as_lines(regions(chunks(content, sizes), longest)) == expected


def test_a_line_over_the_limit_is_left_out_wherever_it_lies() -> None:
    assert as_lines(regions(iter([b"aaaaaa\nb\n"]), 3)) == [6, b"b"]
    assert as_lines(regions(iter([b"aaa", b"aaa\nb\n"]), 3)) == [6, b"b"]
    assert as_lines(regions(iter([b"b\naaaaaa"]), 3)) == [b"b", 6]


def write(path: Path, compression: str, content: bytes) -> Path:
    if compression == "gz":
        content = gzip.compress(content)
    elif compression == "zst":
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", ["", "gz", "zst"])
@pytest.mark.parametrize(
    "content", [b"", b"x", CONTENT, b"\0" * (3 * BLOCK + 7)], ids=["empty", "byte", "lines", "dense"]
)
def test_what_was_packed_comes_out(tmp_path: Path, compression: str, content: bytes) -> None:
    path = write(tmp_path / "file", compression, content)
    assert b"".join(blocks(path, compression)) == content


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_several_members_are_one_file(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "file"
    halves = [write(tmp_path / str(part), compression, CONTENT[part::2]).read_bytes() for part in (0, 1)]
    path.write_bytes(b"".join(halves))
    assert b"".join(blocks(path, compression)) == CONTENT[0::2] + CONTENT[1::2]


@pytest.mark.parametrize("members", [[b"ab", b"", b"cd"], [b"", b"x"]])
def test_empty_members_are_no_break(tmp_path: Path, members: list[bytes]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(gzip.compress(member) for member in members))
    assert b"".join(blocks(path, "gz")) == b"".join(members)


def until_broken(path: Path, compression: str) -> bytes:
    found = []
    with pytest.raises(Broken):
        for block in blocks(path, compression):
            found.append(block)
    return b"".join(found)


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_archive_gives_what_stands_before(tmp_path: Path, compression: str, share: float) -> None:
    noisy = b"".join(b"%x\n" % (number * 2_654_435_761 % 2**61) for number in range(200_000))
    path = write(tmp_path / "file", compression, noisy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    found = until_broken(path, compression)
    assert noisy.startswith(found)
    assert len(found) > len(noisy) * (share - 0.25)


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_damage_in_the_middle_is_seen(tmp_path: Path, compression: str) -> None:
    noisy = b"".join(b"%x\n" % (number * 2_654_435_761 % 2**61) for number in range(100_000))
    path = tmp_path / "file"
    if compression == "gz":
        path.write_bytes(gzip.compress(noisy))
    else:
        path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(noisy))
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(64)
    path.write_bytes(bytes(damaged))
    until_broken(path, compression)


@pytest.mark.parametrize("tail", [b"garbage", b"\x1f\x8b", b"\x00\x00x"])
def test_garbage_after_an_archive_breaks_it_and_loses_nothing(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path / "file", "gz", CONTENT)
    path.write_bytes(path.read_bytes() + tail)
    assert until_broken(path, "gz") == CONTENT


def test_zeros_after_an_archive_are_padding(tmp_path: Path) -> None:
    path = write(tmp_path / "file", "gz", CONTENT)
    path.write_bytes(path.read_bytes() + bytes(512))
    assert b"".join(blocks(path, "gz")) == CONTENT


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_bomb_comes_in_pieces(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "file", compression, bytes(160 << 20))
    sizes = [len(block) for block in blocks(path, compression)]
    assert sum(sizes) == 160 << 20
    assert max(sizes) <= 48 << 20


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(module, "_HARMLESS", 100 << 20)
    path = write(tmp_path / "file", compression, bytes(160 << 20))
    size = 0
    with pytest.raises(Bomb):
        for block in blocks(path, compression):
            size += len(block)
    assert size <= 100 << 20
    path = write(tmp_path / "file", compression, CONTENT)
    monkeypatch.setattr(module, "_HARMLESS", 0)
    assert sum(len(block) for block in blocks(path, compression)) == len(CONTENT)


@pytest.mark.parametrize("compression", ["gz", "zst"])
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 900))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_window_of_an_archive(tmp_path: Path, compression: str, start: int, size: int, block: int) -> None:
    content = CONTENT[:4000]
    path = write(tmp_path / "file", compression, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        assert b"".join(blocks(path, compression, start, start + size)) == content[start : start + size]
        assert b"".join(blocks(path, compression, start)) == content[start:]


def test_what_is_stored_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "file", "gz", CONTENT)
    seen: list[bytes] = []
    list(blocks(path, "gz", seen=seen.append))
    assert b"".join(seen) == path.read_bytes()


@given(st.data())
def test_byte_ranges_of_whole_lines_add_up(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("ranges") / "file"
    content = CONTENT[:2000]
    path.write_bytes(content)
    cut = data.draw(st.integers(0, len(content)))
    assert b"".join(blocks(path, "", 0, cut)) + b"".join(blocks(path, "", cut, None)) == content
