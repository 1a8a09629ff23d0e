"""``flambeau storage test``: can this machine read a model, and if not, why."""

from __future__ import annotations

import asyncio
import os

from cyclopts import App

from flambeau.storage.credentials import from_environment
from flambeau.storage.fetch import survey

_HIDDEN = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_KEY_ID = "AWS_ACCESS_KEY_ID"

storage = App(name="storage", help="Look at where models are stored.")


@storage.command
def test(uri: str, /) -> int:
    """Say whether this machine can read a model, with the credentials that the environment gives; nothing is fetched.

    Args:
        uri: s3://BUCKET/PREFIX or file:///PATH. For S3 the variables are those of KServe's storage initializer: AWS_ENDPOINT_URL,
            AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, S3_VERIFY_SSL, awsAnonymousCredential and so on.
    """
    credentials = from_environment(os.environ)
    if uri.startswith("s3://"):
        for name, setting in credentials.settings.items():
            print(f"{name}: {_shown(name, setting.value)}  ({setting.source})")
    count, size = asyncio.run(survey(uri, credentials=credentials))
    print(f"{uri} can be read: {count} files, {size:,} bytes")
    return 0


def _shown(name: str, value: str) -> str:
    if name in _HIDDEN:
        return "***"
    return f"{value[:4]}…" if name == _KEY_ID else value
