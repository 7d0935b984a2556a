from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.demo import seaweed
from tailrace.export.client import Clients
from tailrace.export.verify import Verification, access_check_key, verify
from tailrace.state.delivery import Capabilities, Destination

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>m</Message></Error>"
CALLS = [
    "HeadBucket",
    "ListObjectsV2",
    "PutObject",
    "GetObject",
    "CreateMultipartUpload",
    "UploadPart",
    "AbortMultipartUpload",
    "DeleteObject",
]


def outcomes(found: Verification) -> dict[str, str]:
    return {step.call: step.outcome for step in found.steps}


def test_the_policy_that_an_export_needs_passes_every_probe_in_order(
    destination: Destination, clients: Clients, keys: Callable[[], list[str]]
) -> None:
    found = verify(destination, clients)

    assert found.passed, found.steps
    assert [step.call for step in found.steps] == CALLS
    assert found.missing_actions == ()
    assert found.capabilities == Capabilities(
        conditional_put=True, conditional_complete=True, checksums=True
    )
    assert found.left_behind == ()
    assert keys() == []


def test_the_six_actions_of_the_wizard_pass_too(
    server: seaweed.Seaweed, destination: Destination, clients: Clients
) -> None:
    everywhere = ["", "*"]
    actions = ("AbortMultipartUpload", "DeleteObject", "GetObject", "ListBucket")
    policy = {f"s3:{action}": everywhere for action in (*actions, "GetBucketLocation", "PutObject")}
    server.put_policy(destination.bucket, policy)

    assert verify(destination, clients).passed


@pytest.mark.parametrize(
    ("action", "refused", "not_tried"),
    [
        ("s3:ListBucket", {"HeadBucket", "ListObjectsV2"}, set()),
        (
            "s3:PutObject",
            {"PutObject", "CreateMultipartUpload"},
            {"GetObject", "UploadPart", "AbortMultipartUpload", "DeleteObject"},
        ),
        ("s3:GetObject", {"GetObject"}, set()),
        ("s3:DeleteObject", {"DeleteObject"}, set()),
        pytest.param(
            "s3:AbortMultipartUpload",
            {"AbortMultipartUpload"},
            set(),
            marks=pytest.mark.skip(reason="SeaweedFS asks no policy before it aborts an upload"),
        ),
    ],
)
def test_a_missing_action_is_named_and_no_other(
    server: seaweed.Seaweed,
    destination: Destination,
    clients: Clients,
    action: str,
    refused: set[str],
    not_tried: set[str],
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    del policy[action]
    server.put_policy(destination.bucket, policy)

    found = verify(destination, clients)

    assert not found.passed
    assert found.missing_actions == (action,)
    assert {call for call, outcome in outcomes(found).items() if outcome == "missing"} == refused
    left = {call for call, outcome in outcomes(found).items() if outcome == "not tried"}
    assert left == not_tried
    cause = found.cause
    assert cause is not None
    assert cause.permission == action
    assert cause.status == 403
    assert cause.request_id
    assert action in cause.fix


def test_a_missing_abort_right_is_named_and_the_upload_that_stays(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("DELETE", "uploadId", answer=(403, ERROR % b"AccessDenied"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.missing_actions == ("s3:AbortMultipartUpload",)
    (left,) = found.left_behind
    assert left.startswith("the multipart upload ")
    assert outcomes(found)["DeleteObject"] == "ok"


def test_several_missing_actions_are_all_named(
    server: seaweed.Seaweed, destination: Destination, clients: Clients
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    server.put_policy(destination.bucket, {"s3:PutObject": policy["s3:PutObject"]})

    found = verify(destination, clients)

    assert found.missing_actions == ("s3:ListBucket", "s3:GetObject", "s3:DeleteObject")


def test_an_object_that_may_not_be_deleted_is_said_to_stay_and_is_overwritten_next_time(
    server: seaweed.Seaweed,
    destination: Destination,
    clients: Clients,
    keys: Callable[[], list[str]],
) -> None:
    policy = seaweed.export_policy(destination.prefix)
    allowed = policy.pop("s3:DeleteObject")
    server.put_policy(destination.bucket, policy)
    key = access_check_key(destination)

    assert verify(destination, clients).left_behind == (f"s3://{destination.bucket}/{key}",)
    assert keys() == [key]

    server.put_policy(destination.bucket, {**policy, "s3:DeleteObject": allowed})
    assert verify(destination, clients).passed
    assert keys() == []


def test_the_probes_touch_nothing_but_their_own_key(
    destination: Destination, clients: Clients, owner: S3Client, keys: Callable[[], list[str]]
) -> None:
    owner.put_object(Bucket=destination.bucket, Key="exports/187520/theirs", Body=b"theirs")

    verify(destination, clients)

    assert keys() == ["exports/187520/theirs"]
    assert not owner.list_multipart_uploads(Bucket=destination.bucket).get("Uploads")


def test_a_refused_key_ends_the_probes_and_blames_no_policy(
    destination: Destination, clients: Clients
) -> None:
    wrong = msgspec.structs.replace(destination, secret_encrypted=b"not the secret")

    found = verify(wrong, clients)

    assert found.missing_actions == ()
    assert set(outcomes(found).values()) == {"settings", "not tried"}
    assert outcomes(found)["HeadBucket"] == "settings"
    assert outcomes(found)["DeleteObject"] == "not tried"
    assert found.cause is not None
    assert found.cause.code == "SignatureDoesNotMatch"
    assert "not the secret" not in str(found)


def test_a_store_that_can_not_be_reached_is_temporary(
    destination: Destination, clients: Clients
) -> None:
    gone = msgspec.structs.replace(destination, endpoint_url="http://127.0.0.1:1")

    found = verify(gone, clients)

    assert not found.passed
    assert outcomes(found)["HeadBucket"] == "temporary"
    assert outcomes(found)["PutObject"] == "not tried"


def pass_on(proxy: Any, method: str, holds: str, times: int) -> None:
    """Let so many requests through before the next fault for the same."""
    for _ in range(times):
        proxy.add(method, holds)


def test_a_missing_bucket_leaves_the_other_probes_untried(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("HEAD", bucket, answer=(404, b""))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert [step.outcome for step in found.steps] == ["settings"] + ["not tried"] * 7
    assert found.missing_actions == ()
    assert found.cause is not None
    assert found.cause.code == "NoSuchBucket"


def test_another_region_is_told_and_never_taken_over_in_silence(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    region = (("x-amz-bucket-region", "eu-north-1"),)
    proxy.add("HEAD", bucket, answer=(200, b""), headers=region)

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert found.region == "eu-north-1"
    assert found.cause is not None
    assert found.cause.fix == 'Run "tailrace verify 1 --region eu-north-1".'
    assert [step.outcome for step in found.steps if step.outcome != "ok"] == ["settings"]
    assert found.missing_actions == ()


def test_a_redirect_to_another_region_still_shows_what_is_missing_there(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    server: seaweed.Seaweed,
) -> None:
    policy = seaweed.export_policy("exports/")
    del policy["s3:GetObject"]
    server.put_policy(bucket, policy)
    region = (("x-amz-bucket-region", "eu-north-1"),)
    proxy.add("HEAD", bucket, answer=(301, b""), headers=region)

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.region == "eu-north-1"
    assert outcomes(found)["HeadBucket"] == "settings"
    assert found.missing_actions == ("s3:GetObject",)


@pytest.mark.parametrize("number", range(8))
def test_a_busy_store_is_temporary_at_every_step_and_no_permission(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    number: int,
) -> None:
    methods = [
        ("HEAD", bucket),
        ("GET", "list-type=2"),
        ("PUT", "access-check"),
        ("GET", "access-check"),
        ("POST", "?uploads"),
        ("PUT", "partNumber"),
        ("DELETE", "uploadId"),
        ("DELETE", "access-check-1"),
    ]
    method, holds = methods[number]
    if number == 7:
        # Giving up the three uploads comes first.
        pass_on(proxy, method, holds, 3)
    proxy.add(method, holds, answer=(503, ERROR % b"SlowDown"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert found.missing_actions == ()
    assert outcomes(found)[CALLS[number]] == "temporary"


@pytest.mark.parametrize("status", [400, 501])
def test_what_a_store_lacks_is_a_capability_and_no_missing_permission(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    status: int,
) -> None:
    lacks = ERROR % b"NotImplemented"
    pass_on(proxy, "PUT", "partNumber", 1)
    pass_on(proxy, "PUT", "access-check-1", 1)
    proxy.add("PUT", "access-check-1", answer=(status, lacks))
    proxy.add("POST", "uploadId=", answer=(status, lacks))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.passed, found.steps
    assert found.capabilities == Capabilities(
        conditional_put=False, conditional_complete=False, checksums=True
    )


def test_trouble_while_a_capability_is_probed_is_no_lack_of_it(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("POST", "uploadId=", answer=(503, ERROR % b"SlowDown"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert found.missing_actions == ()


@pytest.mark.parametrize(
    "changes",
    [{"bucket": "no bucket!"}, {"region": "no region!"}, {"endpoint_url": "http://no host"}],
)
def test_settings_that_can_not_be_are_said_to_be_wrong(
    destination: Destination, clients: Clients, changes: dict[str, str]
) -> None:
    found = verify(msgspec.structs.replace(destination, **changes), clients)

    assert [step.outcome for step in found.steps] == ["settings"] + ["not tried"] * 7
    assert found.missing_actions == ()


def test_a_store_that_names_no_real_region_harms_nothing(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    region = (("x-amz-bucket-region", "no region!"),)
    proxy.add("HEAD", bucket, answer=(200, b""), headers=region)

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert outcomes(found)["DeleteObject"] == "ok"


@pytest.mark.parametrize(
    ("method", "holds", "call"),
    [("POST", "uploads", "CreateMultipartUpload"), ("PUT", "partNumber", "UploadPart")],
)
def test_an_answer_that_lacks_what_it_must_hold_fails_its_step_alone(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    method: str,
    holds: str,
    call: str,
) -> None:
    proxy.add(method, holds, answer=(200, b""))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert not found.passed
    assert outcomes(found)[call] == "unknown"
    assert outcomes(found)["DeleteObject"] == "ok"
    assert found.missing_actions == ()


def test_credentials_refused_without_words_are_told_by_the_next_answer(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("HEAD", bucket, answer=(400, b""))
    proxy.add("GET", "list-type", answer=(400, ERROR % b"ExpiredToken"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert found.cause is not None
    assert found.cause.code == "ExpiredToken"
    assert outcomes(found)["HeadBucket"] == outcomes(found)["ListObjectsV2"] == "settings"


def test_what_is_put_carries_a_sum_for_buckets_that_lock_their_objects(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    assert verify(make_destination(bucket, endpoint_url=proxy.url), clients).passed

    puts = [
        headers
        for line, headers in zip(proxy.requests, proxy.headers, strict=True)
        if line.startswith("PUT ")
    ]
    assert puts
    assert all({"content-md5", "x-amz-checksum-crc32"} & headers.keys() for headers in puts)


def test_every_step_is_told_as_soon_as_it_is_certain(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    told: list[tuple[str, str, int]] = []

    found = verify(
        make_destination(bucket, endpoint_url=proxy.url),
        clients,
        lambda step: told.append((step.call, step.outcome, len(proxy.requests))),
    )

    assert [call for call, _, _ in told] == [step.call for step in found.steps] == CALLS
    requests = [number for _, _, number in told]
    # The capabilities are probed, with several requests, before the object is removed.
    assert requests[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert requests[7] == len(proxy.requests)


def test_a_step_that_only_the_next_answer_explains_is_told_once_and_right(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("HEAD", bucket, answer=(403, b""))
    proxy.add("GET", "list-type", answer=(403, ERROR % b"RequestTimeTooSkewed"))
    told: list[Any] = []

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients, told.append)

    assert told == list(found.steps)
    assert [step.outcome for step in told[:2]] == ["operator", "operator"]


@pytest.mark.parametrize("number", range(8))
def test_probes_that_are_interrupted_leave_nothing(
    destination: Destination,
    clients: Clients,
    owner: S3Client,
    keys: Callable[[], list[str]],
    number: int,
) -> None:
    told: list[Any] = []

    def interrupt(step: Any) -> None:
        told.append(step)
        if len(told) > number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(destination, clients, interrupt)

    assert len(told) == number + 1
    assert keys() == []
    assert not owner.list_multipart_uploads(Bucket=destination.bucket).get("Uploads")


@pytest.mark.parametrize("fault", [{"answer": (503, ERROR % b"SlowDown")}, {"lose_answer": True}])
def test_an_object_whose_put_had_no_answer_is_removed_all_the_same(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    keys: Callable[[], list[str]],
    fault: dict[str, Any],
) -> None:
    proxy.add("PUT", "access-check", **fault)

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    assert outcomes(found)["PutObject"] == "temporary"
    assert found.left_behind == ()
    assert keys() == []


def test_an_object_that_may_have_been_put_and_can_not_be_removed_is_named(
    make_destination: Callable[..., Destination], bucket: str, proxy: Any, clients: Clients
) -> None:
    proxy.add("PUT", "access-check", lose_answer=True)
    pass_on(proxy, "DELETE", "uploadId", 1)
    proxy.add("DELETE", "access-check", answer=(503, ERROR % b"SlowDown"))

    found = verify(make_destination(bucket, endpoint_url=proxy.url), clients)

    (left,) = found.left_behind
    assert left.endswith("access-check-1, if it was written")


def test_other_probes_that_remove_the_object_make_no_store_look_incapable(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    owner: S3Client,
) -> None:
    there = make_destination(bucket, endpoint_url=proxy.url)
    key = access_check_key(there)

    def remove() -> None:
        owner.delete_object(Bucket=bucket, Key=key)

    pass_on(proxy, "PUT", "partNumber", 1)
    pass_on(proxy, "PUT", "access-check-1", 1)
    proxy.add("PUT", "access-check-1", before=remove)
    proxy.add("POST", "uploadId=", before=remove)

    found = verify(there, clients)

    assert found.passed, found.steps
    assert found.capabilities.conditional_put
    assert found.capabilities.conditional_complete


@pytest.mark.parametrize("times", [1, 2])
def test_an_object_that_other_probes_remove_before_it_is_read_is_put_once_more(
    make_destination: Callable[..., Destination],
    bucket: str,
    proxy: Any,
    clients: Clients,
    owner: S3Client,
    keys: Callable[[], list[str]],
    times: int,
) -> None:
    there = make_destination(bucket, endpoint_url=proxy.url)
    key = access_check_key(there)
    for _ in range(times):
        proxy.add(
            "GET",
            "access-check",
            before=lambda: owner.delete_object(Bucket=bucket, Key=key),
        )

    found = verify(there, clients)

    assert found.passed == (times == 1)
    failed = [(step.call, step.outcome) for step in found.steps if step.outcome != "ok"]
    assert failed == ([] if times == 1 else [("GetObject", "unknown")])
    assert found.missing_actions == ()
    assert keys() == []
