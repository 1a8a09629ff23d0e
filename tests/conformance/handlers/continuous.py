"""Answers with one token per step until the number in the body is reached."""

# mypy: ignore-errors


class Continuous:
    def initialize(self, context):
        self.left = {}

    def handle(self, data, context):
        criteria, results = [], []
        for index, row in enumerate(data):
            request = context.get_request_id(index)
            if request not in self.left:
                self.left[request] = int(bytes(row["body"]))
            self.left[request] -= 1
            results.append(f"t{self.left[request]} ")
            criteria.append(self._stop(request))
        context.stopping_criteria = criteria
        return results

    def _stop(self, request):
        def stop(result):
            if self.left[request] > 0:
                return False
            del self.left[request]
            return True

        return stop
