"""What a device is called: the `device_type` and `device_family` of a line (behaviour 4.4.4).

Rules over what a person's device is known to be. The original's table is not public: what no rule
is sure of has neither.
"""

from __future__ import annotations

import re

from tailrace.process.person import DeviceSet

# Devices repeat: sets of seven texts, most of them short, in a few megabytes.
_DEVICES_MAX = 4_000

# (device_type, device_family)
DeviceNames = tuple[str | None, str | None]

UNNAMED: DeviceNames = (None, None)
_MAC: DeviceNames = ("Mac", "Mac OS X")
_WINDOWS: DeviceNames = ("Windows", "Windows")
_LINUX: DeviceNames = ("Linux", "Linux")

# How Apple's models begin, as identifiers such as iPhone15,3 and as names such as iPhone 15 Pro.
_APPLE = {
    "iphone": "Apple iPhone",
    "ipad": "Apple iPad",
    "ipod": "Apple iPod",
    "watch": "Apple Watch",
    "appletv": "Apple TV",
}
_MAC_MODEL = re.compile(r"mac($|[ 0-9]|os|book|mini|pro|studio)|imac")
_MAC_SYSTEMS = ("mac", "os x", "osx")
_LINUXES = frozenset(("linux", "ubuntu", "debian", "fedora"))
_IDENTIFIER = re.compile(r"[A-Za-z]+[0-9]+,[0-9]+")
# What a browser on a phone is called, beside those with "mobile" in their names.
_PHONE_SYSTEMS = ("android", "samsung internet")
_TABLET = re.compile(r"\b(tab|tablet|pad)\b|\bpad[0-9]", re.IGNORECASE)


class DeviceCatalog:
    """The names of devices, each found once."""

    def __init__(self) -> None:
        self._found: dict[DeviceSet, DeviceNames] = {}

    def names(self, device: DeviceSet) -> DeviceNames:
        """Return the type and the family of a device."""
        found = self._found.get(device)
        if found is None:
            if len(self._found) >= _DEVICES_MAX:
                self._found.clear()
            found = self._found[device] = device_names(device)
        return found


def device_names(device: DeviceSet) -> DeviceNames:
    """Return the type and the family of a device, each None where no rule is sure of it."""
    platform, os_name, _, brand, manufacturer, model, _ = device
    maker = brand or manufacturer or ""
    system = (os_name or "").lower()
    kind = (model or "").lower()
    if maker.lower() == "apple" or system in ("ios", "ipados") or kind.startswith("iphone"):
        return _apple(system, model or "")
    if _MAC_MODEL.match(kind) or system.startswith(_MAC_SYSTEMS):
        return _MAC
    if "windows" in (kind, system) or system.startswith("windows "):
        return _WINDOWS
    if not _LINUXES.isdisjoint((kind, system)):
        return _LINUX
    if not maker or model is None:
        return UNNAMED
    maker = maker[0].upper() + maker[1:]
    on_phone = system.startswith(_PHONE_SYSTEMS) or "mobile" in system
    on_phone = on_phone or (platform or "").lower() == "android"
    size = "Tablet" if _TABLET.search(model) else "Phone"
    return _marketing_name(maker, model), f"{maker} {size}" if on_phone else None


def _apple(system: str, model: str) -> DeviceNames:
    kind = model.lower().replace(" ", "")
    for start, family in _APPLE.items():
        if kind.startswith(start):
            # An identifier is no name, and what it stands for is in no list here.
            named = not _IDENTIFIER.fullmatch(model) and kind != start and start.startswith("ip")
            return f"Apple {model}" if named else family, family
    if _MAC_MODEL.match(kind) or system.startswith(_MAC_SYSTEMS):
        return _MAC
    return UNNAMED


def _marketing_name(maker: str, model: str) -> str | None:
    """Return what people call a model, such as Google Pixel 8; None for a code, as SM-S911B."""
    if not any(map(str.islower, model)) or "_" in model:
        return None
    return model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
