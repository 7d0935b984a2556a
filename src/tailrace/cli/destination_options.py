"""What `destination add` and `destination edit` both take, and the access that it names."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.errors import BadRequest

if TYPE_CHECKING:
    from tailrace.app.destinations import Access
    from tailrace.state.delivery import Encryption


class EncryptionChoice(StrEnum):
    """How objects are to be encrypted; the values are S3's own words, but for the default."""

    default = "default"
    sse_s3 = "AES256"
    sse_kms = "aws:kms"


NameOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What people call it; no two of a project alike.")
]
EndpointOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="An S3-compatible store's address; Amazon S3 itself: empty."),
]
KeyIdOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Access key, with its secret's file; without: the operator's access."
    ),
]
SecretFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File that holds its secret.")
]
RoleOption = Annotated[
    str | None, typer.Option(metavar="ARN", help="Role that the operator's principal assumes.")
]
ExternalIdOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="External ID that goes with the role.")
]

EncryptionOption = Annotated[
    EncryptionChoice | None,
    typer.Option(help="What is asked for with each object; default: the bucket's own default."),
]
KmsKeyOption = Annotated[
    str | None,
    typer.Option("--kms-key", metavar="ARN", help="Key that goes with --encryption aws:kms."),
]


def access_of(
    key_id: str | None, secret_file: Path | None, role_arn: str | None, external_id: str | None
) -> Access | None:
    """Return the access that the options name, or None if they name none."""
    from tailrace.app.destinations import Access

    if (key_id is None) != (secret_file is None):
        raise BadRequest("--access-key-id and --secret-access-key-file go together.")
    if all(value is None for value in (key_id, role_arn, external_id)):
        return None
    return Access(
        access_key_id=key_id,
        secret_access_key=None if secret_file is None else _read_secret(secret_file),
        role_arn=role_arn,
        external_id=external_id,
    )


def encryption_of(choice: EncryptionChoice | None) -> Encryption | None:
    """Return what a destination keeps of an encryption that was chosen."""
    known: dict[EncryptionChoice | None, Encryption] = {
        EncryptionChoice.sse_s3: "AES256",
        EncryptionChoice.sse_kms: "aws:kms",
    }
    return known.get(choice)


def _read_secret(file: Path) -> str:
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"Cannot read --secret-access-key-file {file}: {error}.") from error
    if not secret:
        raise BadRequest(f"--secret-access-key-file {file} is empty.")
    return secret
