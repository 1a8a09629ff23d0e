"""Adds up the numbers of a sequence; says which sequence each row belongs to."""

# mypy: ignore-errors


class Sequence:
    def initialize(self, context):
        self.sums = {}

    def handle(self, data, context):
        results = []
        for index, row in enumerate(data):
            sequence = context.get_sequence_id(index)
            if context.get_request_header(index, context.header_key_sequence_start) == "True":
                self.sums[sequence] = 0
            self.sums[sequence] = self.sums.get(sequence, 0) + int(bytes(row["body"]))
            results.append({"sequence": sequence, "sum": self.sums[sequence]})
        return results
