"""The lines for a shell that show what to add to the policy of a KMS key.

The statement itself is `policy.key_statement`. Pages, mails and the command line print both.
"""

from __future__ import annotations

import shlex

from tailrace.export.policy import KEY_GRANTS, Place, as_json, key_statement

_STATEMENT, _POLICY = "tailrace-key-statement.json", "tailrace-key-policy.json"


def key_lines(at: Place) -> str:
    """Return lines that write the statement and the key's policy to files of this folder.

    They change nothing: a key always has a policy, and the call that puts one replaces all of it,
    by which a key can be lost to everybody.
    """
    region = at.kms_key.split(":")[3] if at.kms_key.startswith("arn:") else at.region
    common = "" if region is None else f" --region {region}"
    why = "\n".join(f"# {action}: {text}" for action, text in KEY_GRANTS)
    put = f"--policy-name default --policy file://{_POLICY}"
    return f"""\
# Lets {at.principal} put objects under {at.kms_key}
{why}
cat > {_STATEMENT} <<'STATEMENT'
{as_json(key_statement(at))}STATEMENT
{_key(at.kms_key, common)}
aws kms get-key-policy{common} --key-id "$key" --policy-name default --query Policy \\
  --output text > {_POLICY} &&
echo 'Add {_STATEMENT} to the list "Statement" of {_POLICY}, then:' &&
echo "aws kms put-key-policy{common} --key-id $key {put}"
"""


def _key(arn: str, common: str) -> str:
    """Return what finds the key itself: a policy is none of its alias."""
    if ":alias/" not in arn:
        return f"key={shlex.quote(arn)} &&"
    describe = f"aws kms describe-key{common} --key-id {shlex.quote(arn)}"
    return f"key=$({describe} --query KeyMetadata.Arn --output text) &&"
