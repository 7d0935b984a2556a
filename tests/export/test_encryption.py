"""The encryption that a destination chooses is asked for with each object, and with the probes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.app.editing import Edit
from tailrace.demo import seaweed
from tailrace.errors import BadRequest
from tailrace.export import probe
from tailrace.export.client import Clients
from tailrace.export.encryption import check_encryption, check_kms_key
from tailrace.export.verify import verify
from tailrace.state.delivery import Destination
from tests.export import test_manual_exports as by_hand
from tests.export.editing import DATA, claim, deliver_all, editor_of, keys_of, seal

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

ARN = "arn:aws:kms:eu-west-1:111122223333:"
KEY = f"{ARN}key/1234abcd-12ab-34cd-56ef-1234567890ab"
# SeaweedFS makes each key that it is asked for, if its name is a plain one.
PLAIN_KEY = "acme-exports"
HEADER = "x-amz-server-side-encryption"
KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
SLOW = pytest.mark.slow(reason="parts of 16 MiB go through a real server")
CHOICES: list[tuple[dict[str, str], tuple[str | None, str | None]]] = [
    ({}, (None, None)),
    ({"encryption": "AES256"}, ("AES256", None)),
    ({"encryption": "aws:kms", "kms_key_arn": PLAIN_KEY}, ("aws:kms", PLAIN_KEY)),
]


@pytest.fixture
def encryption_of(owner: S3Client, bucket: str) -> Callable[[str], tuple[str | None, str | None]]:
    """Tell how the server holds an object, in its owner's eyes."""

    def look(key: str) -> tuple[str | None, str | None]:
        head: Any = owner.head_object(Bucket=bucket, Key=key)
        return head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")

    return look


def begins_an_object(line: str) -> bool:
    return line.endswith("?uploads") or (line.startswith("PUT ") and "uploadId=" not in line)


def asked(proxy: Any) -> set[tuple[bool, str | None, str | None]]:
    """Return what requests said, and whether they are those that begin an object."""
    return {
        (begins_an_object(line), headers.get(HEADER), headers.get(KEY_HEADER))
        for line, headers in zip(proxy.requests, proxy.headers, strict=True)
    }


@pytest.mark.parametrize(
    ("region", "endpoint_url", "key"),
    [
        ("eu-west-1", None, KEY),
        ("eu-west-1", None, f"{ARN}alias/exports"),
        ("eu-west-1", None, f"{ARN}key/mrk-1234abcd12ab34cd56ef1234567890ab"),
        (None, None, KEY),
        ("eu-west-1", "https://s3.eu-west-1.amazonaws.com", KEY),
        ("cn-north-1", None, "arn:aws-cn:kms:cn-north-1:111122223333:key/1234"),
        ("us-gov-west-1", None, "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a/b"),
        ("us-east-1", "https://minio.example.com", PLAIN_KEY),
        ("us-east-1", "https://minio.example.com", KEY),
    ],
)
def test_a_key_of_the_buckets_region_is_taken(
    region: str | None, endpoint_url: str | None, key: str
) -> None:
    assert check_kms_key(key, region, endpoint_url) == key


@pytest.mark.parametrize(
    ("endpoint_url", "key", "words"),
    [
        (None, "1234abcd-12ab-34cd-56ef-1234567890ab", "write its ARN"),
        (None, "alias/exports", "write its ARN"),
        (None, f"{ARN}key/", "write its ARN"),
        (None, f"{KEY}\r\nx-amz-acl: public-read", "write its ARN"),
        (None, "arn:aws:kms:eu-west-1:1111:key/1234", "write its ARN"),
        (None, "arn:aws:s3:eu-west-1:111122223333:key/1234", "write its ARN"),
        (None, KEY.replace("eu-west-1", "us-east-1"), "it lies in us-east-1 and the bucket in eu"),
        (None, KEY.replace("arn:aws:", "arn:aws-cn:"), "in the partition aws, not in aws-cn"),
        ("https://minio.example.com", "two words", "no blanks"),
        ("https://minio.example.com", "key\nx", "no blanks"),
    ],
)
def test_a_key_that_can_not_be_right_is_refused_with_its_rule(
    endpoint_url: str | None, key: str, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        check_kms_key(key, "eu-west-1", endpoint_url)


def test_a_key_goes_with_its_encryption_and_the_encryption_with_a_key() -> None:
    check_encryption(None, None, "eu-west-1", None)
    check_encryption("AES256", None, "eu-west-1", None)
    check_encryption("aws:kms", KEY, "eu-west-1", None)
    for encryption, key in ((None, KEY), ("AES256", KEY), ("aws:kms", None), ("aws:kms", "")):
        with pytest.raises(BadRequest, match="KMS"):
            check_encryption(encryption, key, "eu-west-1", None)  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize(("choice", "found"), CHOICES)
def test_file_manifest_and_marker_are_put_with_what_is_chosen(
    world: Any, proxy: Any, bucket: str, encryption_of: Any, choice: Any, found: Any
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url, **choice)
    seal(world, world.hour)
    deliver_all(world)
    keys = keys_of(world, world.hour)
    assert [encryption_of(key) for key in keys] == [found] * len(keys)
    assert asked(proxy) == {(True, *found)}


@SLOW
@pytest.mark.parametrize(("choice", "found"), CHOICES)
def test_an_upload_in_parts_is_begun_with_what_is_chosen(
    world: Any, proxy: Any, bucket: str, encryption_of: Any, choice: Any, found: Any
) -> None:
    world.add_destination(bucket, endpoint_url=proxy.url, marker=False, manifest=False, **choice)
    world.seal(world.put_file(1, os.urandom(20 * 1024**2)))
    deliver_all(world)
    assert world.run().state == "success"
    # Parts, and the end of the upload, take it from its beginning.
    assert asked(proxy) == {(True, *found), (False, None, None)}
    assert encryption_of(keys_of(world, world.hour)[0]) == found


@pytest.mark.parametrize(("choice", "found"), CHOICES)
def test_the_probes_ask_for_what_exports_ask_for(
    make_destination: Callable[..., Destination],
    clients: Clients,
    proxy: Any,
    bucket: str,
    choice: Any,
    found: Any,
) -> None:
    there = make_destination(bucket, endpoint_url=proxy.url, **choice)
    verified = verify(there, clients)
    assert verified.passed
    assert all(msgspec.structs.asdict(verified.capabilities).values())
    assert asked(proxy) == {(True, *found), (False, None, None)}


def test_a_store_that_takes_the_header_and_does_not_encrypt_is_found_out(
    make_destination: Callable[..., Destination],
    clients: Clients,
    proxy: Any,
    bucket: str,
    keys: Callable[[], list[str]],
) -> None:
    there = make_destination(bucket, endpoint_url=proxy.url, encryption="AES256")
    metadata = tuple((f"x-amz-meta-{name}", text) for name, text in probe._METADATA.items())
    proxy.add("GET", "access-check", answer=(200, probe._BODY), headers=metadata)
    verified = verify(there, clients)
    assert not verified.passed
    assert verified.cause is not None
    assert "put with the encryption AES256, and the store says that it has none" in (
        verified.cause.sentence
    )
    assert verified.left_behind == ()
    assert keys() == []


def test_a_bucket_that_demands_an_encryption_is_told_and_takes_it_once_it_is_chosen(
    world: Any, server: seaweed.Seaweed, bucket: str, owner: S3Client
) -> None:
    added = world.add_destination(bucket)
    policy: Any = json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Deny",
            "Principal": {"AWS": server.exporter_arn},
            "Action": ["s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/*"],
            "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}},
        }
    )
    server.put_document(bucket, json.dumps(policy))
    refused = verify(added, world.clients)
    assert refused.missing_actions == ("s3:PutObject",)
    assert refused.cause is not None
    assert "If a Deny there demands an encryption, choose that one" in refused.cause.fix

    # This server misses the header in parts too, where Amazon takes it from the upload's beginning.
    seen = world.destinations.get(added.id)
    chosen = msgspec.structs.replace(seen, encryption="AES256")
    world.destinations.edit(seen, chosen, seen.capabilities, now_micros=0)
    seal(world, world.hour)
    deliver_all(world)
    assert world.run().state == "success"


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_object_of_ours_stays_whatever_its_etag_and_encryption(
    world: Any, proxy: Any, bucket: str, encryption_of: Any, overwrite: bool
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    hour = by_hand.seal(world)
    by_hand.start(world, added)
    deliver_all(world)
    editor_of(world).edit(added.id, Edit(encryption="AES256"))
    # Under a KMS key an ETag is anything but the MD5 of the bytes.
    headers = (
        ("Content-Length", str(len(by_hand.DATA))),
        ("ETag", '"under-a-key"'),
        ("x-amz-meta-tailrace-sha256", hashlib.sha256(by_hand.DATA).hexdigest()),
    )
    proxy.add("HEAD", "%231.json.gz", answer=(200, b""), headers=headers)
    export = by_hand.start(world, added, overwrite=overwrite)
    deliver_all(world)
    assert by_hand.how(world, export, hour) == ["found"]
    assert by_hand.states(world, export) == {hour: "success"}
    assert proxy.take("HEAD", "%231.json.gz") is None, "it was looked at"
    assert encryption_of(by_hand.keys_of(world, hour)["file"]) == (None, None)


def test_another_encryption_is_probed_and_holds_from_the_next_object_on(
    world: Any, proxy: Any, bucket: str, encryption_of: Any
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    early = world.put_file(1, DATA)
    deliver_all(world)
    proxy.requests.clear()
    proxy.headers.clear()

    done = editor_of(world).edit(added.id, Edit(encryption="aws:kms", kms_key_arn=PLAIN_KEY))

    assert done.changed == ("encryption", "kms_key_arn")
    assert (done.begun, done.left_behind) == ((), ())
    assert asked(proxy) == {(True, "aws:kms", PLAIN_KEY), (False, None, None)}
    world.seal(early)
    deliver_all(world)
    file, *later = keys_of(world, world.hour)
    assert encryption_of(file) == (None, None), "nothing that is there is put again"
    assert [encryption_of(key) for key in later] == [("aws:kms", PLAIN_KEY)] * 2


def test_a_run_in_work_lets_go_before_another_encryption_holds(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    seal(world, world.hour)
    held = claim(world)
    waits: list[float] = []

    def let_go(seconds: float) -> None:
        waits.append(seconds)
        world.ledger.waiting(held)

    editor_of(world, let_go).edit(added.id, Edit(encryption="AES256"))
    assert len(waits) == 1


def test_an_encryption_that_the_store_refuses_changes_nothing(world: Any, bucket: str) -> None:
    added = world.add_destination(bucket)
    # The server has no key of a name with colons.
    done = editor_of(world).edit(added.id, Edit(encryption="aws:kms", kms_key_arn=KEY))
    assert done.changed == ()
    assert done.verification is not None
    assert not done.verification.passed
    assert world.destinations.get(added.id) == added


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Edit(kms_key_arn=PLAIN_KEY), "goes with the encryption aws:kms"),
        (Edit(encryption="aws:kms"), "needs a key"),
        (Edit(encryption="aws:kms", kms_key_arn="two words"), "no blanks"),
    ],
)
def test_an_edit_that_can_not_be_right_is_refused_before_anything_is_sent(
    world: Any, proxy: Any, bucket: str, edit: Edit, words: str
) -> None:
    added = world.add_destination(bucket, endpoint_url=proxy.url)
    with pytest.raises(BadRequest, match=words):
        editor_of(world).edit(added.id, edit)
    assert proxy.requests == []
    assert world.destinations.get(added.id) == added


def test_the_key_goes_with_its_encryption_and_another_key_needs_no_word_of_it(
    world: Any, bucket: str
) -> None:
    added = world.add_destination(bucket, encryption="aws:kms", kms_key_arn=PLAIN_KEY)
    other = editor_of(world).edit(added.id, Edit(kms_key_arn="acme-other"))
    assert (other.destination.encryption, other.destination.kms_key_arn) == (
        "aws:kms",
        "acme-other",
    )
    back = editor_of(world).edit(added.id, Edit(encryption=None))
    assert (back.destination.encryption, back.destination.kms_key_arn) == (None, None)
