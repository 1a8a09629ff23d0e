"""Read a model from a git repository over HTTPS: the newest commit of one branch or tag, without its history.

Git itself is run, with nothing of this machine's own configuration or credentials.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from flambeau.foundation.errors import Denied, FlambeauError, NotFound, TooLarge, Unavailable
from flambeau.foundation.processes import run_to_end
from flambeau.storage import credentials as names
from flambeau.storage.cache import Cache, disk_error
from flambeau.storage.connection import ca_bundle
from flambeau.storage.download import in_thread, obtain
from flambeau.storage.model import Credentials, Fetched, OnProgress
from flambeau.storage.pinning import addresses_of
from flambeau.storage.place import address_of, port_of
from flambeau.storage.unpacked import FolderBytes, Gone, files_of, known_files
from flambeau.storage.uri import GitUri
from flambeau.storage.web_client import Site, WebClient

ANSWER_SECONDS_MAX = 30.0
CLONE_SECONDS_MAX = 3600.0
LOOK_SECONDS = 1.0
"""Between two looks at how large a clone has become."""
SLOW_BYTES_PER_SECOND = 1000
SLOW_SECONDS_MAX = 20
"""A clone that is slower than SLOW_BYTES_PER_SECOND for so long is ended."""
MESSAGE_CHARACTERS_MAX = 300
_QUESTION = "/info/refs?service=git-upload-pack"
"""The first thing that git asks a repository."""
_COMMIT_CHARACTERS = 40


async def clone(uri: GitUri, credentials: Credentials, cache: Cache, on_progress: OnProgress | None = None) -> Fetched:
    """Return a directory with a commit's files; one that is in the cache is not cloned again.

    Raises:
        NotFound: no such repository or revision (NoObjects).
        Denied: access is refused (StorageAccessDenied).
        Unavailable: git is not installed (GitNotInstalled), or the repository can't be had (EndpointUnreachable).
        TooLarge: it is larger than the cache (ModelTooLarge).
    """
    commit = await commit_of(uri, credentials)
    identity = f"{uri.url}\n{commit}"
    try:
        known = await in_thread(known_files, cache, identity)
        if known is not None:
            return await obtain(known, Gone(), cache, on_progress)
        with cache.staging() as staging:
            folder = staging.place("repository/.").parent
            branch = ("--branch", uri.revision) if uri.revision else ()
            options = ("--quiet", "--depth", "1", "--single-branch", "--no-tags", *branch)
            async with _bounded(folder, cache.bytes_max, uri):
                await _git("clone", options, (str(folder),), uri, credentials, seconds_max=CLONE_SECONDS_MAX)
            found = await in_thread(files_of, folder, identity)
            fetched = await obtain(found, FolderBytes(folder), cache, on_progress)
            await in_thread(cache.remember, identity, found)
    except OSError as error:
        raise disk_error(cache.root, error) from error
    return replace(fetched, from_cache=False)


@asynccontextmanager
async def _bounded(folder: Path, bytes_max: int, uri: GitUri) -> AsyncIterator[None]:
    """Cancel the block when a folder outgrows the cache while it runs: git tells no size before, and would fill the disk.

    Raises:
        TooLarge: it did (ModelTooLarge).
    """
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(folder, bytes_max, uri), name=f"size of {uri}")
            yield
            watching.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several


async def _watch(folder: Path, bytes_max: int, uri: GitUri) -> None:
    while await in_thread(_bytes_in, folder) <= bytes_max:  # noqa: ASYNC110 - another process makes it grow
        await asyncio.sleep(LOOK_SECONDS)
    raise TooLarge(f"cannot read {uri}: it is larger than the model cache ({bytes_max} bytes)", reason="ModelTooLarge")


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):  # git moves its files about
                total += os.lstat(Path(parent, file)).st_size
    return total


async def commit_of(uri: GitUri, credentials: Credentials) -> str:
    """Return the commit that a revision names now; raises what ``clone`` raises."""
    wanted = uri.revision or "HEAD"
    listing = await _git("ls-remote", (), (wanted, f"{wanted}^{{}}"), uri, credentials, seconds_max=ANSWER_SECONDS_MAX)
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in listing.splitlines())}
    # Git lists whatever ends in the name, such as the branch of/main for main. A branch goes before a tag, as in a clone, and the commit
    # that an annotated tag leads to before the tag itself.
    names = (f"refs/heads/{wanted}", f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}") if uri.revision else ("HEAD",)
    commit = next((commits[name] for name in names if name in commits), "")
    if len(commit) < _COMMIT_CHARACTERS:
        raise NotFound(f"cannot read {uri}: it has no branch or tag {wanted}", hint="check the name after the @", reason="NoObjects")
    return commit


async def _git(
    command: str, options: Sequence[str], arguments: Sequence[str], uri: GitUri, credentials: Credentials, *, seconds_max: float
) -> str:
    """Let git do something with a repository; return what it printed.

    Cancel: it is killed, with its helpers that do the talking.
    """
    program = shutil.which("git")
    if program is None:
        raise Unavailable(f"cannot read {uri}: git is not installed on this machine", hint="install git", reason="GitNotInstalled")
    url = await _settled(uri, credentials)
    words = (program, command, *options, "--", url, *arguments)
    with _certificates(credentials) as bundle:
        environment = _environment(credentials, bundle, await _pin(url))
        try:
            ended = await run_to_end(words, environment=environment, seconds_max=seconds_max)
        except TimeoutError as error:  # is an OSError, too
            raise Unavailable(f"cannot read {uri}: git did not end within {seconds_max:.0f} s", reason="EndpointUnreachable") from error
        except OSError as error:
            raise Unavailable(f"cannot start git: {error}", reason="GitNotInstalled") from error
    if ended.code:
        raise _failed(ended.errors, uri, credentials)
    return ended.output


async def _settled(uri: GitUri, credentials: Credentials) -> str:
    """Return where a repository's address leads: git follows redirects wherever they go, so they are followed here, and git follows none.

    With a password, none are followed at all: git would take it along to another host.
    """
    if credentials.get(names.GIT_PASSWORD):
        return uri.url
    client = WebClient(Site(kind="the git server", url=uri.url, ca_bundle=ca_bundle(credentials)))
    where = await client.settled(f"{uri.url}{_QUESTION}", str(uri))
    if not where.endswith(_QUESTION):
        raise Unavailable(
            f"cannot read {uri}: it redirects to {address_of(where)}, which is no git repository",
            hint="check the repository's address",
            reason="EndpointRefused",
        )
    return where.removesuffix(_QUESTION)


async def _pin(url: str) -> str:
    """Return the addresses that git is to connect to, as curl has it; empty where the host is not known here, but perhaps to a proxy.

    Raises:
        Unavailable: as ``pinning.addresses_of``.
    """
    host, port = urlsplit(url).hostname or "", port_of(url)
    try:
        addresses = await addresses_of(host, port)
    except OSError:
        return ""
    return f"{host}:{port}:{','.join(f'[{each}]' if ':' in each else each for each in addresses)}"


@contextmanager
def _certificates(credentials: Credentials) -> Iterator[str]:
    """Give git the certificates to trust as a file for as long as it runs; an empty name where this machine's are enough."""
    bundle = ca_bundle(credentials)
    if bundle is None:
        yield ""
        return
    with tempfile.NamedTemporaryFile(prefix="flambeau-ca-", suffix=".pem") as file:
        file.write(bundle)
        file.flush()
        yield file.name


def _environment(credentials: Credentials, bundle: str, pin: str) -> dict[str, str]:
    """Return git's environment: nobody is asked for a password, no helper gives one, and only the web is talked to."""
    own = {name: os.environ[name] for name in ("PATH", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY") if name in os.environ}
    settings = {
        "credential.helper": "",
        "core.hooksPath": "/dev/null",
        "http.followRedirects": "false",
        "http.lowSpeedLimit": str(SLOW_BYTES_PER_SECOND),
        "http.lowSpeedTime": str(SLOW_SECONDS_MAX),
    }
    user, password = credentials.get(names.GIT_USERNAME) or "", credentials.get(names.GIT_PASSWORD)
    if password:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        settings["http.extraHeader"] = f"Authorization: Basic {login}"  # in the environment, so that no process list shows it
    if pin:
        settings["http.curloptResolve"] = pin
    if bundle:
        settings["http.sslCAInfo"] = bundle
    numbered = {f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(settings.values())}
    fixed = {
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }
    return {**own, **fixed, **numbered, **values}


def _failed(errors: str, uri: GitUri, credentials: Credentials) -> FlambeauError:
    lines = [line for line in errors.splitlines() if line.strip()]
    cause = (lines[-1] if lines else "git gave no reason").removeprefix("fatal: ")[:MESSAGE_CHARACTERS_MAX]
    lowered = errors.lower()
    if "could not read username" in lowered or "authentication failed" in lowered or "error: 403" in lowered or "error: 401" in lowered:
        identity = credentials.source(names.GIT_PASSWORD) or "no GIT_PASSWORD is given"
        return Denied(
            f"cannot read {uri}: access is refused ({identity})",
            hint="a Secret with GIT_USERNAME and GIT_PASSWORD gives access",
            reason="StorageAccessDenied",
        )
    if "not found" in lowered:
        return NotFound(f"cannot read {uri}: {cause}", hint="check the repository's address", reason="NoObjects")
    return Unavailable(f"cannot read {uri}: {cause}", hint="check the repository's address", reason="EndpointUnreachable")
