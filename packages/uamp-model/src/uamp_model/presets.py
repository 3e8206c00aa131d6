"""The memory settings a tracker can be asked for."""

import difflib

from uamp_model.errors import InputError

MEMORY_SETTINGS = ("sam2",)
"""`sam2`: memory exactly as SAM 2's own video predictor keeps and reads it."""


def check_memory(name: str) -> str:
    """Return the name if it is a memory setting.

    Raises:
        InputError: if it is not, naming those that are.
    """
    if name in MEMORY_SETTINGS:
        return name
    known = " or ".join(MEMORY_SETTINGS)
    if name in ("samurai", "uamp"):
        raise InputError(f"The memory setting {name!r} is not part of this version yet: use {known}.")
    near = difflib.get_close_matches(name.lower(), MEMORY_SETTINGS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"Unknown memory setting {name!r}: use {known}.{hint}")
