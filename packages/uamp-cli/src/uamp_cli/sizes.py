"""Picture sizes on the command line."""

from uamp_model.errors import InputError

SMALLEST_SIDE = 32


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "768x432", width first as people say it.

    Raises:
        InputError: it is no such text, or a side is below 32 pixels.
    """
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal()) or min(int(width), int(height)) < SMALLEST_SIDE:
        raise InputError(f"--size {text} must be width and height from {SMALLEST_SIDE} pixels on, like 768x432.")
    return int(height), int(width)
