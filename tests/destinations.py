"""A destination at Amazon S3 with the operator's credentials, for tests to change."""

from __future__ import annotations

from tailrace.state.delivery import Destination

AT_AMAZON = Destination(
    id=1,
    organization=100001,
    project=187520,
    kind="amazon-s3",
    name="Amazon S3",
    bucket="acme",
    region="eu-west-1",
    prefix="exports/",
    endpoint_url=None,
    access_key_id=None,
    secret_encrypted=None,
    role_arn=None,
    external_id=None,
    include_events=True,
    include_merged_ids=False,
    manifest=True,
    marker=True,
    state="active",
    from_hour=None,
    until_hour=None,
    capabilities=None,
    created_micros=0,
)
