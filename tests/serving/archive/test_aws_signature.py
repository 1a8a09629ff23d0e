from __future__ import annotations

import calendar

import pytest

from flambeau.serving.archive.aws_signature import AwsKeys, signed_headers

NOON = calendar.timegm((2013, 5, 24, 0, 0, 0))
KEYS = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_amazons_own_examples(query: str, signature: str) -> None:
    headers = signed_headers(KEYS, host=HOST, path="/", query=query, now=NOON)
    assert headers["authorization"].endswith(f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}")
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert "host" not in headers


def test_a_session_token_is_signed_too() -> None:
    keys = AwsKeys("id", "secret", "eu-west-1", "token")
    headers = signed_headers(keys, host=HOST, path="/a b/c%20d", query="", now=NOON)
    assert headers["x-amz-security-token"] == "token"
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in headers["authorization"]
    assert headers == signed_headers(keys, host=HOST, path="/a%20b/c d", query="", now=NOON)
    assert "secret" not in repr(keys)
    assert "token" not in repr(keys).replace("session_token", "")
