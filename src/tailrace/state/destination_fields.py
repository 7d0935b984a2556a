"""Which fields of a destination belong to what, said once for all that compare or change them.

Read by what probes, edits and shows destinations.
"""

from __future__ import annotations

# What people call it.
NAME = ("name",)
# Where objects go. An hour's objects all go to one place.
PLACE = ("bucket", "prefix", "endpoint_url")
# With whose rights, and through which region.
ACCESS = ("region", "access_key_id", "secret_encrypted", "role_arn", "external_id")
# How the store encrypts what is put.
ENCRYPTION = ("encryption", "kms_key_arn")
# What is put.
CONTENT = ("include_events", "include_merged_ids", "manifest", "marker")

# What probes depend on; what they found says nothing once one of these is another.
PROBED = (*PLACE, *ACCESS, *ENCRYPTION)
# All that an edit can make different.
CHANGEABLE = (*NAME, *PROBED, *CONTENT)
