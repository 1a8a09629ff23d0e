"""Streams as many chunks as the body says."""

# mypy: ignore-errors

from ts.handler_utils.utils import send_intermediate_predict_response


def handle(data, context):
    if data is None:
        return None
    count, _, word = bytes(data[0]["body"]).decode().partition(" ")
    for index in range(int(count)):
        send_intermediate_predict_response([f"chunk{index} "], context.request_ids, "Intermediate Prediction success", 200, context)
        if word == "fail":
            raise ValueError("in the middle")
    return ["end"]
