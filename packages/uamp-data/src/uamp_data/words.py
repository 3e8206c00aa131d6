"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """`1 frame` or `2 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
