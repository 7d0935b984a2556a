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


def python(collect_url: str, api_key: str) -> str:
    """Return a program that sends one event with the official Python SDK."""
    return (
        "# pip install amplitude-analytics\n"
        "from amplitude import Amplitude, BaseEvent, Config\n\n"
        "client = Amplitude(\n"
        f"    {json.dumps(api_key)},\n"
        f"    Config(server_url={json.dumps(collect_url + '/2/httpapi')}),\n"
        ")\n"
        'client.track(BaseEvent("First Event", user_id="first-user"))\n'
        "client.shutdown()  # sends what waits\n"
    )


def node(collect_url: str, api_key: str) -> str:
    """Return a program that sends one event with the official Node SDK."""
    return (
        "// npm install @amplitude/analytics-node\n"
        'const amplitude = require("@amplitude/analytics-node");\n\n'
        "async function main() {\n"
        f"  await amplitude.init({json.dumps(api_key)}, {{\n"
        f"    serverUrl: {json.dumps(collect_url + '/2/httpapi')},\n"
        "  }).promise;\n"
        '  const who = { user_id: "first-user" };\n'
        '  amplitude.track("First Event", undefined, who);\n'
        "  await amplitude.flush().promise;\n"
        "}\n"
        "main();\n"
    )


def browser(collect_url: str, api_key: str) -> str:
    """Return what a web application does with the official Browser SDK."""
    return (
        "// npm install @amplitude/analytics-browser\n"
        'import * as amplitude from "@amplitude/analytics-browser";\n\n'
        f"amplitude.init({json.dumps(api_key)}, {{\n"
        f"  serverUrl: {json.dumps(collect_url + '/2/httpapi')},\n"
        "  // Nothing is asked of Amplitude's own servers.\n"
        "  remoteConfig: { fetchRemoteConfig: false },\n"
        "});\n"
        'amplitude.track("First Event");\n'
    )
