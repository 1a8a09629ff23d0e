"""Where objects are and who asks for them: what every object store's connection has in common. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket (Azure: a container), where it is and who asks."""

    store: str
    """``S3``, for people."""
    root: str
    """What URIs of its objects begin with: ``s3://models``."""
    bucket: str
    endpoint: str
    """With a scheme, without a trailing slash."""
    endpoint_source: str
    """Who said so, for people."""
    region: str = ""
    """Empty for stores without regions."""
    verify_tls: bool = True
    ca_bundle: bytes | None = None
    """PEM certificates to trust; None: those of this machine."""
    identity: str
    """Who asks, for people: the Secret and the beginning of the key id."""
    warnings: tuple[str, ...] = ()
    also_asked: tuple[str, ...] = ()
    """Where else requests go that somebody named: who gives out tokens."""
    ca_hint: str
    """What to do where the certificate is not trusted."""
    plain_hint: str
    """What to do where the endpoint speaks no TLS."""

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self.endpoint

    def facts(self) -> dict[str, str]:
        """Return what a person asks first when a fetch fails, each in a few words."""
        tls = "none, plain HTTP" if self.endpoint.startswith("http://") else "verified" if self.verify_tls else "not verified"
        facts = {"identity": self.identity, "endpoint": f"{self.endpoint} ({self.endpoint_source})", "tls": tls}
        if self.ca_bundle:
            facts["ca"] = f"{self.ca_bundle.count(_CERTIFICATE)} certificates of a bundle, beside this machine's"
        return facts | ({"region": self.region} if self.region else {})

    @property
    def address(self) -> str:
        """``host:port`` of the endpoint."""
        return address_of(self.base_url)


def address_of(url: str) -> str:
    """Return ``host:port`` of a URL."""
    return f"{urlsplit(url).hostname}:{port_of(url)}"


def port_of(url: str) -> int:
    """Return the port that a URL leads to."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
