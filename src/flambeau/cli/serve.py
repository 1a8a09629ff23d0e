"""``flambeau serve``: the model server in the foreground, with TorchServe's flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flambeau.programs import model_server
from flambeau.programs.settings.server import Flags


def serve(
    folder: Path | None = None,
    /,
    *,
    reload: Annotated[bool, Parameter(negative="")] = False,
    model_store: Annotated[str | None, Parameter(name=["--model-store", "--model_store"])] = None,
    models: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    ts_config: Annotated[str | None, Parameter(name=["--ts-config", "--ts_config"])] = None,
    workflow_store: Annotated[str | None, Parameter(name=["--workflow-store", "--workflow_store"])] = None,
    no_config_snapshots: Annotated[bool, Parameter(name=["--no-config-snapshots", "--no_config_snapshots", "--ncs"], negative="")] = False,
    disable_token_auth: Annotated[bool, Parameter(name=["--disable-token-auth", "--disable_token_auth", "--dt"], negative="")] = False,
    enable_model_api: Annotated[bool, Parameter(name=["--enable-model-api", "--enable_model_api"], negative="")] = False,
    show_config: Annotated[bool, Parameter(name=["--show-config", "--show_config"], negative="")] = False,
    log_config: Annotated[str | None, Parameter(name=["--log-config", "--log_config"], show=False)] = None,
    cpp_log_config: Annotated[str | None, Parameter(name=["--cpp-log-config", "--cpp_log_config"], show=False)] = None,
    plugins_path: Annotated[str | None, Parameter(name=["--plugins-path", "--plugins_path", "--ppath"], show=False)] = None,
    start: Annotated[bool, Parameter(name="--start", negative="", show=False)] = False,
    foreground: Annotated[bool, Parameter(name="--foreground", negative="", show=False)] = False,
) -> int:
    """Run the model server until SIGTERM or Ctrl-C.

    Args:
        folder: a model's folder (handler, weights, perhaps a MAR-INF/MANIFEST.json), or a model store whose models are all
            loaded, such as `flambeau serve my-model`.
        reload: load a model anew when its files change; the old one serves until the new one can, and goes on if it cannot. Of a model
            store, load what is put into it and remove what is taken out, such as `flambeau serve model-store --reload`.
        model_store: directory that holds the .mar files; needed unless the config file names it, such as `--model-store model-store`.
        models: what to load at the start, such as `--models all` or `--models mnist=mnist.mar other.mar`.
        ts_config: a config.properties; TS_CONFIG_FILE beats it, ./config.properties stands in for it, such as
            `--ts-config config.properties`.
        workflow_store: directory of workflow archives, such as `--workflow-store workflows`.
        no_config_snapshots: neither save nor restore configuration snapshots, such as `--ncs`.
        disable_token_auth: serve without token authorization, such as `--dt`.
        enable_model_api: allow to register and unregister models over HTTP, such as `--enable-model-api`.
        show_config: print every setting with its source, and end, such as `flambeau serve model-store --show-config`.
        log_config: a log4j2 XML file; its levels count, and TorchServe's log files are written.
        cpp_log_config: no effect: there is no C++ backend.
        plugins_path: no effect: plug-ins are Java.
        start: accepted, as in ``torchserve --start``; serving is what this command does.
        foreground: accepted, as in ``torchserve --foreground``; this command never goes to the background.
    """
    java_only = {"cpp_log_config": cpp_log_config, "plugins_path": plugins_path}
    flags = Flags(
        model_store=model_store,
        models=tuple(models),
        ts_config=ts_config,
        workflow_store=workflow_store,
        no_config_snapshots=no_config_snapshots,
        disable_token_auth=disable_token_auth,
        enable_model_api=enable_model_api,
        log_config=log_config,
        without_effect=tuple(flag for flag, value in java_only.items() if value is not None),
        folder=folder.expanduser().absolute() if folder is not None else None,
        reload=reload,
    )
    return model_server.show_config(flags) if show_config else model_server.run(flags)
