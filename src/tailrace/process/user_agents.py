"""`UserAgents`: what a browser or an app says of itself and of its device, by ua-parser's rules.

An event's own fields win; what they do not say is set from its user agent (3.1.2, 4.4.7).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import msgspec

from tailrace.upload import UploadEvent

# User agents repeat; a text has at most 1,024 characters, so that this stays under 10 MB.
_AGENTS_MAX = 5_000

# How the rules begin the maker's name where they know none, and call a program that is no person.
_NO_MAKER = "Generic"
_BOT = "Spider"


class Agent(msgspec.Struct, frozen=True):
    """What a user agent says; `os_name` is the browser's name, and `os_version` its main version.

    `model` is that of the device, or else its system, as the official Browser SDK once said it.
    """

    os_name: str | None = None
    os_version: str | None = None
    brand: str | None = None
    model: str | None = None
    is_bot: bool = False


AgentOf = Callable[[str], Agent]


def rules_version() -> str:
    """Return which rules user agents are read by; hours are stored with it."""
    return importlib.metadata.version("ua-parser-builtins")


class UserAgents:
    """Reads user agents, each once; the rules are loaded for the first one."""

    def __init__(self) -> None:
        self._found: dict[str, Agent] = {}
        self._read: AgentOf | None = None

    def of(self, text: str) -> Agent:
        """Return what a user agent says."""
        found = self._found.get(text)
        if found is None:
            if self._read is None:
                self._read = _reader()
            if len(self._found) >= _AGENTS_MAX:
                self._found.clear()
            found = self._found[text] = self._read(text)
        return found


def equip(event: UploadEvent, agent: Agent) -> None:
    """Set what an event does not say of its system and of its device.

    Name and version go together, and so do maker and model: never the one of what was sent and the
    other of what was read.
    """
    if event.os_name is None and event.os_version is None:
        event.os_name, event.os_version = agent.os_name, agent.os_version
    if (
        event.device_brand is None
        and event.device_manufacturer is None
        and event.device_model is None
    ):
        event.device_brand = event.device_manufacturer = agent.brand
        event.device_model = agent.model


def _reader() -> AgentOf:
    # 30 MB and a third of a second, for those who have user agents.
    from ua_parser.core import Domain
    from ua_parser.loaders import load_lazy_builtins
    from ua_parser.regex import Resolver

    resolve = Resolver(load_lazy_builtins())

    def read(text: str) -> Agent:
        result = resolve(text, Domain.ALL)
        browser, system, device = result.user_agent, result.os, result.device
        brand = None if device is None else device.brand
        is_bot = brand == _BOT
        if brand is None or brand.startswith(_NO_MAKER) or is_bot:
            brand = device = None
        shown = browser or system
        return Agent(
            os_name=None if shown is None else shown.family,
            os_version=None if shown is None else shown.major,
            brand=brand,
            model=device.model if device else system.family if system else None,
            is_bot=is_bot,
        )

    return read
