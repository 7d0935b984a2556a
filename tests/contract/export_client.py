"""Let amplitude-data-wrapper export a range; what it needs is JSON on the standard input."""

from __future__ import annotations

import json
import sys

from amplitude_data_wrapper import analytics_api

given = json.load(sys.stdin)
# It knows Amplitude's own servers alone.
analytics_api.API_DOMAINS["eu"] = given.pop("url")
analytics_api.export_project_data(**given)
