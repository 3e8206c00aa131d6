"""Picture sizes on the command line."""

from uamp_model.errors import InputError

SMALLEST_SIDE, LARGEST_SIDE = 32, 8192


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "768x432", width first as people say it.

    Raises:
        InputError: it is no such text, or a side is below 32 or above 8192 pixels.
    """
    width, _, height = text.lower().replace("×", "x").partition("x")
    sides = [int(side) for side in (width, height) if side.isdecimal() and len(side) < 9]
    if len(sides) < 2 or min(sides) < SMALLEST_SIDE or max(sides) > LARGEST_SIDE:
        limits = f"from {SMALLEST_SIDE} pixels to {LARGEST_SIDE}"
        raise InputError(f"--size {text[:40]} must be width and height {limits}, like 768x432.")
    return int(height), int(width)
