"""Object stores, as much of them as a store needs: put, get, list, delete, and a put that fails where there is one.

That last one is what a commit is made of: an object store has no rename. Credentials come from the environment, as
the vendors' own tools take them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from mayo_data.errors import ConfigError, StoreError

_HINT = "check the URL, the credentials and the network"


class Bucket(Protocol):
    """A prefix of an object store. Names are relative to it, with `/`."""

    def put(self, name: str, source: Path) -> None:
        """Upload a file; an object of that name is replaced."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Make an object, or return False where there is one of that name: of two writers, one wins."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Write a small object, whether there is one or not."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a small object, or None."""
        ...

    def get(self, name: str, target: Path) -> None:
        """Download an object."""
        ...

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name begins so, in order."""
        ...

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        ...


def bucket(url: str) -> Bucket:
    """Return the prefix that a URL names.

    Args:
        url: `s3://BUCKET/PREFIX` or `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX`; `?endpoint=http://...`
            leads to a server of one's own.

    Raises:
        ConfigError: The URL is of another kind, holds a password, or its client is not installed.
    """
    parts = urlsplit(url, allow_fragments=False)
    options = dict(parse_qsl(parts.query))
    if parts.password or set(options) - {"endpoint", "region"}:
        raise ConfigError(
            "the URL of the store holds a password or an unknown option", hint="credentials: the environment"
        )
    prefix = unquote(parts.path).strip("/")
    scheme = parts.scheme.lower()
    if scheme in ("s3", "s3a") and parts.netloc:
        return _S3(parts.netloc, prefix, options)
    if scheme in ("abfs", "abfss") and parts.username and parts.hostname:
        return _Azure(parts.username, parts.hostname, prefix, options)
    raise ConfigError("the URL of the store is of a kind that is not known", hint="a folder, s3:// or abfss://")


@contextmanager
def _told(*errors: type[Exception]) -> Iterator[None]:
    """Say what went wrong without the client's words: they hold names and hosts."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (*errors, OSError)):
            raise
        raise StoreError(f"the object store refused ({type(error).__name__})", hint=_HINT) from None


class _S3:
    def __init__(self, name: str, prefix: str, options: dict[str, str]) -> None:
        try:
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise ConfigError("the S3 client is not installed", hint='pip install "mayo-data[s3]"') from error
        self._bucket, self._prefix = name, f"{prefix}/" if prefix else ""
        self._refused = ClientError
        self._errors = (BotoCoreError, ClientError, boto3.exceptions.Boto3Error)
        with _told(*self._errors):
            self._client: Any = boto3.client(
                "s3", endpoint_url=options.get("endpoint"), region_name=options.get("region")
                or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            )  # fmt: skip

    def put(self, name: str, source: Path) -> None:
        with _told(*self._errors):
            self._client.upload_file(str(source), self._bucket, self._prefix + name)

    def create(self, name: str, content: bytes) -> bool:
        with _told(*self._errors):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content, IfNoneMatch="*")
            except self._refused as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                    return False
                raise
        return True

    def replace(self, name: str, content: bytes) -> None:
        with _told(*self._errors):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content)

    def read(self, name: str) -> bytes | None:
        with _told(*self._errors):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except self._client.exceptions.NoSuchKey:
                return None
            return bytes(found["Body"].read())

    def get(self, name: str, target: Path) -> None:
        with _told(*self._errors):
            self._client.download_file(self._bucket, self._prefix + name, str(target))

    def names(self, prefix: str) -> list[str]:
        with _told(*self._errors):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return sorted(
                entry["Key"].removeprefix(self._prefix) for page in pages for entry in page.get("Contents", ())
            )

    def delete(self, name: str) -> None:
        with _told(*self._errors):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


class _Azure:
    def __init__(self, container: str, host: str, prefix: str, options: dict[str, str]) -> None:
        try:
            from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
            from azure.storage.blob import ContainerClient
        except ImportError as error:
            raise ConfigError("the Azure client is not installed", hint='pip install "mayo-data[azure]"') from error
        self._prefix = f"{prefix}/" if prefix else ""
        self._there, self._absent, self._errors = ResourceExistsError, ResourceNotFoundError, (AzureError, ValueError)
        account = host.partition(".")[0]
        endpoint = options.get("endpoint")
        url = f"{endpoint}/{account}" if endpoint else f"https://{host.replace('.dfs.', '.blob.')}"
        with _told(*self._errors):
            self._client: Any = ContainerClient(url, container, credential=_azure_credential(account))

    def put(self, name: str, source: Path) -> None:
        with _told(*self._errors), source.open("rb") as content:
            self._client.upload_blob(self._prefix + name, content, overwrite=True)

    def create(self, name: str, content: bytes) -> bool:
        with _told(*self._errors):
            try:
                self._client.upload_blob(self._prefix + name, content, overwrite=False)
            except self._there:
                return False
        return True

    def replace(self, name: str, content: bytes) -> None:
        with _told(*self._errors):
            self._client.upload_blob(self._prefix + name, content, overwrite=True)

    def read(self, name: str) -> bytes | None:
        with _told(*self._errors):
            try:
                return bytes(self._client.download_blob(self._prefix + name).readall())
            except self._absent:
                return None

    def get(self, name: str, target: Path) -> None:
        with _told(*self._errors), target.open("wb") as out:
            self._client.download_blob(self._prefix + name).readinto(out)

    def names(self, prefix: str) -> list[str]:
        with _told(*self._errors):
            found = self._client.list_blob_names(name_starts_with=self._prefix + prefix)
            return sorted(name.removeprefix(self._prefix) for name in found)

    def delete(self, name: str) -> None:
        with _told(*self._errors):
            try:
                self._client.delete_blob(self._prefix + name)
            except self._absent:
                return


def _azure_credential(account: str) -> Any:
    """A key, a token, or whom the machine is signed in as."""
    if key := os.environ.get("AZURE_STORAGE_KEY"):
        return {"account_name": account, "account_key": key}
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
        return token
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise ConfigError(
            "no credential for the Azure store", hint="AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or azure-identity"
        ) from error
    return DefaultAzureCredential()
