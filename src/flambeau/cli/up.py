"""``flambeau up``: the platform on this machine, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from flambeau.foundation.errors import InvalidInput


def up(
    *,
    home: Path = Path("~/.flambeau"),
    api: str = "127.0.0.1:7443",
    gateway: str = "127.0.0.1:8000",
    gateway_tls_cert: Path | None = None,
    gateway_tls_key: Path | None = None,
    domain: str = "localhost",
    cache_gib: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 50,
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO",
    log_format: Literal["text", "json"] = "text",
) -> int:
    """Run the platform: API server, controllers, agent and gateway, until Ctrl-C.

    Parameters
    ----------
    home
        Where it keeps everything, such as `--home ~/.flambeau`; its kubeconfig is there when it is ready.
    api
        Where the API server listens, such as `--api 127.0.0.1:7443`.
    gateway
        Where the gateway listens, such as `--gateway 127.0.0.1:8000`.
    gateway_tls_cert
        Certificate chain (PEM) with which the gateway speaks TLS, such as `--gateway-tls-cert tls.crt`; URLs are https then.
    gateway_tls_key
        The certificate's key (PEM), such as `--gateway-tls-key tls.key`.
    domain
        Services answer at NAME.NAMESPACE.DOMAIN, such as `--domain example.com`.
    cache_gib
        Room for downloaded models in GiB, such as `--cache-gib 200`; models in use are never evicted, a model too many is refused.
    log_level
        The least severe lines that are written, such as `--log-level WARNING`.
    log_format
        `text` for people, `json` for collectors, such as `--log-format json`.
    """
    from flambeau.programs.gateway_supervisor import GatewayAddress, GatewayTls  # noqa: PLC0415 - only this command pays for it
    from flambeau.programs.platform import PlatformSettings, run  # noqa: PLC0415 - likewise

    if (gateway_tls_cert is None) != (gateway_tls_key is None):
        raise InvalidInput("--gateway-tls-cert and --gateway-tls-key belong together", hint="give both files")
    tls = None
    if gateway_tls_cert is not None and gateway_tls_key is not None:
        tls = GatewayTls(gateway_tls_cert.expanduser().absolute(), gateway_tls_key.expanduser().absolute())
    settings = PlatformSettings(
        home=home.expanduser().absolute(),
        api=_address(api, "--api"),
        gateway=GatewayAddress(*_address(gateway, "--gateway"), tls),
        domain=domain,
        cache_bytes_max=int(cache_gib * 1024**3),
        log_level=log_level,
        log_format=log_format,
    )
    return run(settings)


def _address(text: str, flag: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidInput(f"{flag} {text!r} is not HOST:PORT", hint=f"for example {flag} 127.0.0.1:8000")
    return host.strip("[]"), int(port)
