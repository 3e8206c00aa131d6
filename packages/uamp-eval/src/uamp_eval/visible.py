"""Names as people may see them. Nothing here needs anything else."""

import re


def visible(text: str, *, keep: str = "") -> str:
    r"""Write control characters as Python does, such as `\x1b`: a name that has them must not steer the terminal.

    Args:
        text: For a terminal.
        keep: Those that stay as they are.
    """
    return re.sub("[\0-\x1f\x7f-\x9f]", lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)
