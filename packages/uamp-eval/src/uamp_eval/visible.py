"""Names as people may see them. Nothing here needs anything else."""

_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}


def visible(text: str, *, keep: str = "") -> str:
    r"""Write control characters as Python does, such as `\x1b`: a name that has them must not steer the terminal.

    Args:
        text: For a terminal.
        keep: Those that stay as they are.
    """
    return text.translate({code: shown for code, shown in _CONTROLS.items() if chr(code) not in keep})
