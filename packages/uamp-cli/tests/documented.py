"""What the READMEs and docs tell people to type."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("packages/*/README.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [block for language, block in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without comments and with one space between words, each once.

    The README says that `.tools/bin/uv run` goes without saying; so it does here.
    """
    lines = []
    for block in blocks(page, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"(^|\s)#.*", "", line).split()
            lines.append(" ".join(words).removeprefix(".tools/bin/uv run "))
    return [line for line in dict.fromkeys(lines) if line]
