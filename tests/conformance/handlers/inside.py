"""Tells what a handler can read of its context; answers with the part the body names."""

# mypy: ignore-errors

import os


class Inside:
    def initialize(self, context):
        self.at_load = {"request_ids": context.request_ids, "manifest": context.manifest is not None}

    def handle(self, data, context):
        if context.get_request_header(0, "describe") == "True":
            return [{"described": context.model_name, "config": context.model_yaml_config}]
        return [getattr(self, bytes(data[0]["body"]).decode())(context)]

    def manifest(self, context):
        return {key: value for key, value in context.manifest.items() if key != "createdOn"}

    def yaml(self, context):
        return context.model_yaml_config

    def name(self, context):
        return {"name": context.model_name}

    def properties(self, context):
        kept = ("gpu_id", "batch_size", "server_name", "server_version", "limit_max_image_pixels")
        return {key: context.system_properties.get(key) for key in kept}

    def keys(self, context):
        return sorted(context.system_properties)

    def load(self, context):
        return self.at_load

    def directory(self, context):
        return sorted(os.listdir(context.system_properties["model_dir"]))

    def workdir(self, context):
        return {"same": os.path.realpath(os.getcwd()) == os.path.realpath(context.system_properties["model_dir"])}

    def ids(self, context):
        return {"ids": list(context.request_ids), "same": context.get_request_id(0) == context.request_ids[0]}

    def extra(self, context):
        return open("extra.txt").read()

    def environment(self, context):
        return {key: os.environ[key] for key in sorted(os.environ) if key.startswith(("TS_", "MY_"))}
