"""Streams as many items as the body says."""

from typing import Any

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data: list[Any], context: Any) -> list[str]:
    if not data:
        return []
    count = int(bytes(data[0].get("data") or data[0].get("body")))
    for number in range(count - 1):
        send_intermediate_predict_response([f"item {number}\n"], context.request_ids, "Intermediate", 200, context)
    return [f"item {count - 1}\n"]
