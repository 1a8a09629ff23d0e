"""Read a model's URI. Pure: admission calls it too, so it never looks at a disk or a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.destinations import is_forbidden

SCHEMES = ("s3://", "gs://", "https://", "http://", "hf://", "pvc://", "hdfs://", "webhdfs://", "file://")
"""What ``fetch`` can read, as people write it. Azure's blobs and git repositories are ``https://``."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CLAIM = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_GIT_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AZURE_HOST = re.compile(r"([a-z0-9]{3,24})\.blob\.core\.windows\.net")
_AZURE_FILE_HOST = re.compile(r"[a-z0-9]{3,24}\.file\.core\.windows\.net")
_HINT_BY_SCHEME = {
    "oci://": "models in image registries are not fetched here; unpack the image's /models and use file://",
    "modelscope://": "ModelScope is not fetched here; use hf:// or download the model and use file://",
}


@dataclass(frozen=True, slots=True)
class S3Uri:
    """``s3://bucket/prefix``."""

    bucket: str
    prefix: str
    """Without leading slashes; a trailing one says that it can only be a directory. Empty: the whole bucket."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class GcsUri:
    """``gs://bucket/prefix``."""

    bucket: str
    prefix: str
    """As for S3."""

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class AzureUri:
    """``https://account.blob.core.windows.net/container/prefix``."""

    account: str
    bucket: str
    """Azure calls it a container."""
    prefix: str
    """As for S3."""

    def __str__(self) -> str:
        return f"https://{self.account}.blob.core.windows.net/{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class WebUri:
    """``https://host/path/file``: one file, or an archive of a model."""

    url: str
    """As written, without a fragment."""

    @property
    def host(self) -> str:
        """The host's name without its port, in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def file_name(self) -> str:
        """What the file is called: the last step of the path."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        # A query often holds a signature, which is a secret.
        return f"{parts.scheme}://{parts.netloc}{parts.path}{'?…' if parts.query else ''}"


@dataclass(frozen=True, slots=True)
class GitUri:
    """``https://host/repository.git``, with ``@branch-or-tag`` if wanted."""

    url: str
    revision: str
    """Empty: the default branch."""

    def __str__(self) -> str:
        return f"{self.url}{f'@{self.revision}' if self.revision else ''}"


@dataclass(frozen=True, slots=True)
class HubUri:
    """``hf://owner/model[:revision]``."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"hf://{self.repository}:{self.revision}"


@dataclass(frozen=True, slots=True)
class HdfsUri:
    """``hdfs://path`` or ``webhdfs://path``; the name node comes with the credentials."""

    path: str
    """Begins with a slash."""

    def __str__(self) -> str:
        return f"hdfs:/{self.path}"


@dataclass(frozen=True, slots=True)
class ClaimUri:
    """``pvc://claim/path``: a PersistentVolumeClaim of the namespace."""

    claim: str
    path: PurePosixPath
    """Relative to the volume; ``.`` is the whole."""

    def __str__(self) -> str:
        return f"pvc://{self.claim}" if self.path == PurePosixPath(".") else f"pvc://{self.claim}/{self.path}"


@dataclass(frozen=True, slots=True)
class FileUri:
    """``file:///path``, or an absolute path alone."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"file://{self.path}"


Uri: TypeAlias = S3Uri | GcsUri | AzureUri | WebUri | GitUri | HubUri | HdfsUri | ClaimUri | FileUri


def validate_uri(uri: str) -> None:
    """Refuse a URI that no fetch can succeed with.

    Raises:
        InvalidInput: as ``parse_uri``.
    """
    parse_uri(uri)


def parse_uri(uri: str) -> Uri:
    """Return what a URI names. A key of an object store is taken as written: nothing is percent-decoded, ``?`` and ``#`` belong to it.

    Raises:
        InvalidInput: reason UnsupportedScheme for a scheme that isn't known, InvalidStorageUri for anything else.
    """
    if _CONTROL.search(uri) or uri != uri.strip():
        raise InvalidInput(
            f"cannot read the storage URI {uri!r}: it contains blanks at an end or control characters",
            hint="write it without them",
            reason="InvalidStorageUri",
        )
    if uri.startswith("/"):
        return FileUri(_absolute(uri, uri))
    scheme = _SCHEME.match(uri)
    parse = _PARSERS.get(scheme.group()) if scheme else None
    if parse is not None:
        return parse(uri)
    hint = f"use one of {', '.join(SCHEMES)} or an absolute path"
    raise InvalidInput(
        f"cannot read the storage URI {uri!r}: "
        + (f"the scheme {scheme.group()} is not supported" if scheme else "it has no scheme and is no absolute path"),
        hint=_HINT_BY_SCHEME.get(scheme.group(), hint) if scheme else hint,
        reason="UnsupportedScheme",
    )


def _parse_s3(uri: str) -> S3Uri:
    return S3Uri(*_bucket_and_prefix(uri, uri.removeprefix("s3://"), "s3://BUCKET/PREFIX"))


def _parse_gcs(uri: str) -> GcsUri:
    return GcsUri(*_bucket_and_prefix(uri, uri.removeprefix("gs://"), "gs://BUCKET/PREFIX"))


def _parse_web(uri: str) -> AzureUri | GitUri | WebUri:
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise _wrong(uri, str(error), "write https://HOST/PATH/FILE") from error
    if parts.username:
        shown = f"{parts.scheme}://…@{host}{parts.path}"
        raise _wrong(shown, "it contains a user's name or password", "put credentials into a Secret with https-host and headers")
    if not host or " " in uri or "\\" in uri:
        raise _wrong(uri, "it is no web address", "write https://HOST/PATH")
    if is_forbidden(host):
        cause = "it names a link-local or metadata address, where a machine's own credentials are told"
        raise _wrong(uri, cause, "name the web server's own address")
    if azure := _AZURE_HOST.fullmatch(host):
        rest = unquote(parts.path).lstrip("/")
        return AzureUri(azure.group(1), *_bucket_and_prefix(uri, rest, "https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX"))
    if _AZURE_FILE_HOST.fullmatch(host):
        raise _wrong(
            uri, "Azure's file shares are not supported", "mount the share and use file://, or use a blob container", "UnsupportedScheme"
        )
    path, _, revision = parts.path.partition(".git@")
    if parts.path.endswith(".git") or revision:
        if revision and not _GIT_REVISION.fullmatch(revision):
            raise _wrong(uri, f"{revision!r} is no branch or tag", "write https://HOST/REPOSITORY.git@TAG")
        return GitUri(f"{parts.scheme}://{parts.netloc}{path.removesuffix('.git')}.git", revision)
    where = WebUri(uri.partition("#")[0])
    name = where.file_name
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise _wrong(uri, "its path does not end in a file's name", "name one file, or an archive of the model (.zip, .tar, .tar.gz, .tgz)")
    return where


def _parse_hub(uri: str) -> HubUri:
    repository, _, revision = uri.removeprefix("hf://").rstrip("/").partition(":")
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise _wrong(uri, f"{repository!r} is no repository", "write hf://OWNER/MODEL or hf://OWNER/MODEL:REVISION")
    if revision and (not _GIT_REVISION.fullmatch(revision) or ".." in revision):
        raise _wrong(uri, f"{revision!r} is no revision", "write a branch, a tag or a commit after the colon")
    return HubUri(repository, revision or "main")


def _parse_hdfs(uri: str) -> HdfsUri:
    path = "/" + uri.partition("://")[2].strip("/")
    if ".." in path.split("/") or path == "/":
        raise _wrong(uri, "it names no path, or one with '..'", "write hdfs://PATH; the name node comes from the Secret's HDFS_NAMENODE")
    return HdfsUri(path)


def _parse_claim(uri: str) -> ClaimUri:
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    if not _CLAIM.fullmatch(claim):
        raise _wrong(uri, f"{claim!r} is no name of a claim", "write pvc://CLAIM/PATH")
    if ".." in path.split("/"):
        raise _wrong(uri, "its path has a '..' step", "write the plain path inside the volume")
    return ClaimUri(claim, PurePosixPath(path.strip("/") or "."))


def _parse_file(uri: str) -> FileUri:
    return FileUri(_absolute(uri, uri.removeprefix("file://")))


_PARSERS: Mapping[str, Callable[[str], Uri]] = {
    "s3://": _parse_s3,
    "gs://": _parse_gcs,
    "https://": _parse_web,
    "http://": _parse_web,
    "hf://": _parse_hub,
    "pvc://": _parse_claim,
    "hdfs://": _parse_hdfs,
    "webhdfs://": _parse_hdfs,
    "file://": _parse_file,
}


def _bucket_and_prefix(uri: str, rest: str, form: str) -> tuple[str, str]:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _wrong(uri, f"{bucket!r} is no bucket name" if bucket else "it names no bucket", f"write {form}")
    prefix = key.lstrip("/")
    steps = prefix.removesuffix("/").split("/") if prefix else []
    if "\\" in prefix or any(step in ("", ".", "..") for step in steps):
        cause = "its path has an empty, '.' or '..' step or a backslash"
        raise _wrong(uri, cause, "write the plain path of the object or directory")
    return bucket, prefix


def _absolute(uri: str, path: str) -> PurePosixPath:
    if not path.startswith("/") or ".." in path.split("/"):
        raise _wrong(uri, "the path must be absolute and without '..'", "write file:///absolute/path")
    return PurePosixPath(path)


def _wrong(uri: str, cause: str, hint: str, reason: str = "InvalidStorageUri") -> InvalidInput:
    return InvalidInput(f"cannot read the storage URI {uri!r}: {cause}", hint=hint, reason=reason)
