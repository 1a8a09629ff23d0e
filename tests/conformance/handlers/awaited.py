"""A coroutine handler, for asyncCommunication."""

# mypy: ignore-errors

from ts.handler_utils.utils import send_intermediate_predict_response


class Awaited:
    def initialize(self, context):
        pass

    async def handle(self, data, context):
        body = bytes(data[0]["body"]).decode()
        if body == "fail":
            raise ValueError("in a coroutine")
        if body.startswith("stream"):
            for index in range(int(body.split()[1])):
                send_intermediate_predict_response([f"a{index} "], context.request_ids, "Intermediate Prediction success", 200, context)
        return [f"awaited {body}"] * len(data)
