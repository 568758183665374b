"""Where an export lies: a folder, a file, or a prefix of an object store (`s3://`, `gs://`, `abfss://`).

Object stores are reached through pyarrow's file systems, and only where the input is such a URL: nothing else of
this library opens a connection. Credentials come from the environment, as the vendors' own tools take them; a URL
with a password is refused, because it would stand in a shell's history.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import fs

from mayo_data.errors import ConfigError, SourceError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PATIENCE = timedelta(seconds=60)  # how long Google's client tries again
_OPTIONS = {"s3": ("endpoint", "region", "anonymous"), "gs": ("endpoint", "anonymous"), "abfss": ("endpoint",)}


@dataclass(frozen=True)
class RemotePath:
    """A file of an object store.

    Attributes:
        root: URL of the file system, without a path.
        path: Bucket or container, and key.

    >>> RemotePath("s3://exports", "exports/night/Patient.ndjson").name
    'Patient.ndjson'
    """

    root: str
    path: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.path.rpartition("/")[2]

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Open the file: every read is a request for a range of bytes."""
        return cast(BinaryIO, file_system(self.root).open_input_file(self.path))


class Found(NamedTuple):
    """A file below the input.

    Attributes:
        path: The file.
        parts: Its path relative to the input.
        size: Bytes.
        regular: False for a device, a socket, a link to a folder: what cannot be read.
    """

    path: Path | RemotePath
    parts: tuple[str, ...]
    size: int
    regular: bool = True


def is_url(source: Path | str) -> bool:
    """Return whether an input is a URL rather than a path.

    >>> is_url("s3://exports/night"), is_url("exports/night")
    (True, False)
    """
    return isinstance(source, str) and _URL.match(source) is not None


def listing(source: Path | str) -> list[Found]:
    """List every file below the input, in order of its relative path.

    Args:
        source: A folder (with all its folders), one file, or a URL of an object store.

    Raises:
        SourceError: There is no such place, it cannot be listed, or a link leads out of it.
        ConfigError: The URL is of no known kind.
    """
    if is_url(source) and not str(source).lower().startswith("file://"):
        return sorted(_remote(str(source)), key=lambda found: found.parts)
    path = Path(unquote(urlsplit(source).path)) if isinstance(source, str) and is_url(source) else Path(source)
    if not path.exists():
        raise SourceError("the input does not exist", hint="check --input")
    if not path.is_dir():
        return [Found(path, (path.name,), path.stat().st_size, path.is_file())]
    return sorted(_local(path), key=lambda found: found.parts)


def _local(root: Path) -> Iterator[Found]:
    whole = root.resolve()

    def stop(error: OSError) -> None:
        raise SourceError(f"a folder of the input cannot be read: {why(error)}", hint="check its permissions") from None

    for folder, folders, names in os.walk(root, onerror=stop):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]  # walk does not follow them
        for name in [*names, *links]:
            path = here / name
            stays_inside(path, whole)
            parts = path.relative_to(root).parts
            try:
                info = path.stat()
            except OSError:  # a link to nothing, or to itself
                yield Found(path, parts, 0, False)
                continue
            yield Found(path, parts, info.st_size, stat.S_ISREG(info.st_mode))


def stays_inside(path: Path, whole: Path) -> None:
    """Refuse a link that leads out of the input: an export must not name files of this machine.

    Args:
        path: What lies in the input.
        whole: Folder of the input, resolved.

    Raises:
        SourceError: It is a link, and leads out.
    """
    if path.is_symlink() and not _within(path, whole):
        raise SourceError(
            "a link leads out of the input folder",
            hint="copy the file that it leads to into the folder, or remove the link",
        )


def _within(link: Path, whole: Path) -> bool:
    try:
        return link.resolve().is_relative_to(whole)
    except (OSError, RuntimeError):  # a link that leads to itself leads nowhere
        return True


# ── object stores ─────────────────────────────────────────────────────────────────────────────────


def _remote(url: str) -> Iterator[Found]:
    parts = urlsplit(url, allow_fragments=False)
    scheme = _scheme(parts.scheme)
    bucket = (parts.username if scheme == "abfss" else parts.netloc) or ""
    if not bucket or (scheme == "abfss" and not parts.hostname):
        raise ConfigError("the input URL names no bucket", hint="for example s3://bucket/folder")
    root = f"{scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else "")
    base = f"{bucket}/{parts.path.strip('/')}".rstrip("/")
    try:
        system = file_system(root)
        first = system.get_file_info(base)
        if first.type == fs.FileType.NotFound:
            raise SourceError("the input does not exist", hint="check --input, and who may list it")
        if first.type == fs.FileType.File:
            yield Found(RemotePath(root, base), (base.rpartition("/")[2],), first.size)
            return
        below = system.get_file_info(fs.FileSelector(base, recursive=True))
    except (OSError, ValueError) as error:  # their messages hold names of files
        raise SourceError(
            f"the input cannot be listed: {why(error)}", hint="check the URL, the credentials and the network"
        ) from None
    for info in below:
        if info.type == fs.FileType.File:
            yield Found(RemotePath(root, info.path), tuple(info.path[len(base) :].strip("/").split("/")), info.size)


def _scheme(scheme: str) -> str:
    known = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfss", "abfss": "abfss"}.get(scheme.lower())
    if known is None:
        raise ConfigError(
            "the input URL is of a kind that is not read", hint="a folder, a file, s3://, gs:// or abfss://"
        )
    return known


@lru_cache(maxsize=8)
def file_system(root: str) -> fs.FileSystem:
    """Return the file system of a URL; a process connects once.

    Args:
        root: The URL without its path: `s3://BUCKET`, `gs://BUCKET`, `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net`.
            Its query may hold `endpoint=http://HOST:PORT` (else `$AWS_ENDPOINT_URL_S3`, `$AWS_ENDPOINT_URL`,
            `$STORAGE_EMULATOR_HOST`), `region` and `anonymous=true`.

    Raises:
        ConfigError: The URL holds a password or an unknown option, or pyarrow was built without that store.
    """
    parts = urlsplit(root, allow_fragments=False)
    scheme = _scheme(parts.scheme)
    options = dict(parse_qsl(parts.query))
    if parts.password or (scheme != "abfss" and parts.username):
        raise ConfigError("the input URL holds credentials", hint="put them into the environment of the run")
    if set(options) - set(_OPTIONS[scheme]):
        raise ConfigError("the input URL has an unknown option", hint=f"{scheme} knows {', '.join(_OPTIONS[scheme])}")
    try:
        return {"s3": _s3, "gs": _gs, "abfss": _azure}[scheme](parts.netloc, options)
    except (AttributeError, ImportError):
        raise ConfigError("this build of pyarrow cannot reach that store", hint="install pyarrow from PyPI") from None


def _s3(bucket: str, options: Mapping[str, str]) -> fs.FileSystem:
    endpoint = _endpoint(options, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    anonymous = options.get("anonymous") == "true"
    if endpoint is None:
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket), anonymous=anonymous)
    scheme, authority = endpoint
    return fs.S3FileSystem(
        region=region or "us-east-1", anonymous=anonymous, endpoint_override=authority, scheme=scheme
    )


def _gs(bucket: str, options: Mapping[str, str]) -> fs.FileSystem:
    endpoint = _endpoint(options, "STORAGE_EMULATOR_HOST")
    anonymous = options.get("anonymous") == "true"
    if endpoint is None:
        return fs.GcsFileSystem(anonymous=anonymous, retry_time_limit=_PATIENCE)
    scheme, authority = endpoint
    return fs.GcsFileSystem(anonymous=anonymous, endpoint_override=authority, scheme=scheme, retry_time_limit=_PATIENCE)


def _azure(netloc: str, options: Mapping[str, str]) -> fs.FileSystem:
    account, _, domain = netloc.rpartition("@")[2].partition(".")
    given = {"account_key": os.environ.get("AZURE_STORAGE_KEY"), "sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN")}
    settings: dict[str, str] = {name: value for name, value in given.items() if value}
    endpoint = _endpoint(options)
    if endpoint is not None:
        scheme, authority = endpoint
        settings |= {"blob_storage_authority": authority, "blob_storage_scheme": scheme}
        settings |= {"dfs_storage_authority": authority, "dfs_storage_scheme": scheme}
    elif domain:
        settings["dfs_storage_authority"] = "." + domain.replace("blob.", "dfs.", 1)
        settings["blob_storage_authority"] = "." + domain.replace("dfs.", "blob.", 1)
    return fs.AzureFileSystem(account, **settings)


def _endpoint(options: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """Scheme and authority of a server that stands in for the vendor's."""
    url = options.get("endpoint") or next((os.environ[name] for name in names if os.environ.get(name)), None)
    if url is None:
        return None
    parts = urlsplit(url if _URL.match(url) else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError("the endpoint of the input is no URL", hint="for example http://127.0.0.1:9000")
    return parts.scheme, parts.netloc


def why(error: Exception) -> str:
    """Return what went wrong in words that name no file.

    >>> why(PermissionError("s3://bucket/Jane_Doe.ndjson"))
    'permission denied'
    """
    said = str(error).upper()
    if isinstance(error, PermissionError) or "ACCESS_DENIED" in said or "FORBIDDEN" in said or " 403" in said:
        return "permission denied"
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else "the store did not answer as it should"
