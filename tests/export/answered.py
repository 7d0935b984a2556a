"""Answers of a store that no local server gives, as botocore raises them."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError


def answer(
    code: str, status: int, call: str = "PutObject", message: str = "", **error: str
) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message, **error},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "R1", "HTTPHeaders": {}},
    }
    return ClientError(response, call)
