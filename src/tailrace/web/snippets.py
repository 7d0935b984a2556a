"""Snippets that people copy to send events, with the address and the key filled in."""

from __future__ import annotations

import json
import shlex


def curl(collect_url: str, api_key: str) -> str:
    """Return a shell command that sends one event and prints the answer."""
    event = json.dumps({"user_id": "first-user", "event_type": "First Event"})
    body = f'{{"api_key": {json.dumps(api_key)},\n       "events": [{event}]}}'
    return (
        f"curl -s {shlex.quote(collect_url + '/2/httpapi')} \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )
