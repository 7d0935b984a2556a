from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from botocore.exceptions import ClientError

from tailrace.clock import SystemClock
from tailrace.errors import BadRequest, NeedsOperator
from tailrace.export.client import Clients, ClientSettings
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination

# Each would lead requests elsewhere, or end them, if it were believed.
HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIDHOSTILE",
    "AWS_SECRET_ACCESS_KEY": "hostile",
    "AWS_SESSION_TOKEN": "hostile",
    "AWS_PROFILE": "hostile",
    "AWS_DEFAULT_REGION": "hostile-1",
    "AWS_ENDPOINT_URL": "http://192.0.2.1:9",
    "AWS_ENDPOINT_URL_S3": "http://192.0.2.1:9",
    "AWS_CONFIG_FILE": "/nonexistent/hostile",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/hostile",
    "AWS_CA_BUNDLE": "/nonexistent/hostile",
    "REQUESTS_CA_BUNDLE": "/nonexistent/hostile",
    "AWS_MAX_ATTEMPTS": "9",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "hostile",
    "HTTP_PROXY": "http://192.0.2.1:9",
    "http_proxy": "http://192.0.2.1:9",
    "HTTPS_PROXY": "http://192.0.2.1:9",
    "ALL_PROXY": "http://192.0.2.1:9",
}


def new_clients(**settings: Any) -> Clients:
    given = ClientSettings(**{"private_endpoints": True, **settings})
    return Clients(given, lambda secret: secret.decode(), SystemClock())


def test_a_destination_with_a_key_takes_nothing_from_the_environment(
    destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)

    found = verify(destination, new_clients())

    assert found.passed, found.steps


def test_amazon_itself_is_reached_without_the_environment_s_endpoint(
    destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.1:9")
    at_amazon = msgspec.structs.replace(destination, endpoint_url=None, region="eu-west-1")

    client = new_clients().of(at_amazon)

    assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(("region", "expected"), [(None, "us-east-1"), ("eu-west-1", "eu-west-1")])
def test_a_destination_without_a_region_is_tried_in_us_east_1(
    destination: Destination, region: str | None, expected: str
) -> None:
    changed = msgspec.structs.replace(destination, region=region)
    assert new_clients().of(changed).meta.region_name == expected


def test_a_private_endpoint_is_refused_unless_allowed(destination: Destination) -> None:
    with pytest.raises(BadRequest, match="no public address"):
        new_clients(private_endpoints=False).of(destination)


def test_a_key_without_its_secret_is_the_operators_to_mend(destination: Destination) -> None:
    with pytest.raises(NeedsOperator):
        new_clients().of(msgspec.structs.replace(destination, secret_encrypted=None))


def test_a_client_is_kept_while_the_destinations_access_is_the_same(
    destination: Destination,
) -> None:
    clients = new_clients()
    first = clients.of(destination)
    assert clients.of(msgspec.structs.replace(destination, id=2, prefix="other/")) is first
    assert clients.of(msgspec.structs.replace(destination, secret_encrypted=b"new")) is not first


def test_the_same_secret_encrypted_twice_makes_one_client(destination: Destination) -> None:
    settings = ClientSettings(private_endpoints=True)
    clients = Clients(settings, lambda secret: secret.decode().rstrip("!"), SystemClock())
    other = msgspec.structs.replace(destination, secret_encrypted=b"secret!")
    first = clients.of(msgspec.structs.replace(destination, secret_encrypted=b"secret"))
    assert clients.of(other) is first
    assert clients.of(msgspec.structs.replace(other, access_key_id="AKOTHER")) is not first


def test_a_request_is_sent_once_however_it_fails(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any
) -> None:
    client = new_clients().of(make_destination(bucket, endpoint_url=proxy.url))
    for _ in range(3):
        proxy.add("GET", bucket, answer=(503, b"<Error><Code>SlowDown</Code></Error>"))
    with pytest.raises(ClientError):
        client.list_objects_v2(Bucket=bucket)
    assert len(proxy.requests) == 1


def test_a_bucket_in_another_region_is_not_followed(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any
) -> None:
    client = new_clients().of(make_destination(bucket, endpoint_url=proxy.url))
    body = (
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region>"
        b"<Message>m</Message></Error>"
    )
    proxy.add("GET", bucket, answer=(400, body))
    with pytest.raises(ClientError, match="AuthorizationHeaderMalformed"):
        client.list_objects_v2(Bucket=bucket)
    assert len(proxy.requests) == 1


ROLE = """<AssumeRoleResponse><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>T</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
)


class FakeSts:
    """Answers AssumeRole as AWS does: only with the right external ID."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fields = {name: values[0] for name, values in parse_qs(text).items()}
                fake.asked.append(fields)
                right = fields.get("ExternalId") == "acme-7"
                body = (ROLE.format(key="AKROLE", secret="s") if right else DENIED).encode()
                self.send_response(200 if right else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=lambda: self.server.serve_forever(0.01), daemon=True)
        self.thread.start()


@pytest.fixture
def sts() -> Iterator[FakeSts]:
    made = FakeSts()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


def with_role(destination: Destination, external_id: str | None, url: str) -> Destination:
    return msgspec.structs.replace(
        destination,
        access_key_id=None,
        secret_encrypted=None,
        role_arn="arn:aws:iam::111122223333:role/tailrace",
        external_id=external_id,
        endpoint_url=url,
    )


def test_a_role_is_assumed_once_with_its_external_id(
    destination: Destination, sts: FakeSts, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operator")
    client = new_clients(sts_endpoint_url=sts.url).of(with_role(destination, "acme-7", proxy.url))
    assert sts.asked == [], "not before the first request"

    for _ in range(2):
        proxy.add("GET", "", answer=(200, b"<ListBucketResult></ListBucketResult>"))
        client.list_objects_v2(Bucket="acme")

    (asked,) = sts.asked
    assert asked["RoleArn"] == "arn:aws:iam::111122223333:role/tailrace"
    assert asked["ExternalId"] == "acme-7"
    assert all("Credential=AKROLE/" in one["authorization"] for one in proxy.headers)
    assert all(one["x-amz-security-token"] == "T" for one in proxy.headers)


def test_a_role_that_may_not_be_assumed_is_named_as_missing(
    destination: Destination, sts: FakeSts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKOPERATOR")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "operator")
    clients = new_clients(sts_endpoint_url=sts.url)

    found = verify(with_role(destination, None, "http://127.0.0.1:1"), clients)

    assert found.missing_actions == ("sts:AssumeRole",)
    assert [step.outcome for step in found.steps] == ["missing"] + ["not tried"] * 7
    assert len(sts.asked) == 1


def test_a_name_that_leads_elsewhere_by_the_time_of_connecting_is_refused(
    make_destination: Any, bucket: str, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looked up it is a public name; connected to, it is this machine.
    port = urlsplit(proxy.url).port
    destination = make_destination(bucket, endpoint_url=f"http://localhost:{port}")
    monkeypatch.setattr(
        "tailrace.export.client.check_endpoint", lambda url, *, private_allowed: url
    )

    found = verify(destination, new_clients(private_endpoints=False))

    assert not found.passed
    assert found.steps[0].cause is not None
    assert "which is no public address" in found.steps[0].cause.sentence
    assert proxy.requests == [], "not a byte was sent"
    assert verify(destination, new_clients(private_endpoints=True)).passed
