"""``python -m ts.llm_launcher`` says why it can't: it hosts vLLM or TensorRT-LLM, whose handlers aren't served here."""

from __future__ import annotations

import sys


def main() -> None:
    """End the process with a sentence that says what to use.

    Raises:
        SystemExit: always.
    """
    sys.exit(
        "ts.llm_launcher hosts vLLM and TensorRT-LLM, which flambeau doesn't: run `vllm serve MODEL`, or write a handler for the engine"
    )


if __name__ == "__main__":
    main()
