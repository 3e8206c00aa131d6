"""Check the links of this project's Markdown files.

    python docs/check_links.py              links to files and headings of the checkout; needs no network
    python docs/check_links.py --outside    addresses on the web, each asked for once

Exit code 1 if a link leads nowhere. An address that could not be asked (no network, a server that refuses programs)
is listed as not reached and does not count as broken.
"""

import argparse
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

SKIPPED = {"node_modules", "runs", "build", "dist", "site-packages"}
LINK = re.compile(r"!?\[(?:[^\]\\]|\\.)*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(https?://[^>\s]+)>")
GONE = {404, 410}
TIMEOUT_SECONDS = 20
AGENT = "Mozilla/5.0 (compatible; link check)"


def markdown_files(root: Path) -> list[Path]:
    """The Markdown files below a folder, without hidden, built and installed ones."""
    found = []
    for path in root.rglob("*.md"):
        parts = path.relative_to(root).parts
        if not any(part.startswith(".") or part in SKIPPED for part in parts):
            found.append(path)
    return sorted(found)


def without_code(text: str) -> str:
    """The text without fenced blocks and code spans, lines kept."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
            lines.append("")
        else:
            lines.append("" if fence else line)
    return re.sub(r"(`+)(?!`)[^\n]*?(?<!`)\1(?!`)", lambda span: "x" * len(span[0]), "\n".join(lines))


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every link of a file."""
    text = without_code(path.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] or match[2]


def anchors(path: Path) -> set[str]:
    """The names that headings of a Markdown file can be linked by, as GitHub makes them."""
    names: set[str] = set()
    fenced = False
    for line in path.read_text(encoding="utf-8").split("\n"):
        fenced ^= line.lstrip().startswith("```")
        heading = re.match(r"#{1,6}\s+(.*)", line)
        if heading is not None and not fenced:
            slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading[1]).strip().lower()).replace(" ", "-")
            name, count = slug, 0
            while name in names:
                count += 1
                name = f"{slug}-{count}"
            names.add(name)
    return names


def broken_inside(root: Path, path: Path) -> Iterator[str]:
    """What is wrong with the links of a file that stay inside the checkout."""
    for line, target in links(path):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / unquote(name)).resolve() if name else path.resolve()
        where = f"{path.relative_to(root)}:{line}: {target}"
        if not goal.is_relative_to(root.resolve()):
            yield f"{where} leaves the checkout"
        elif not goal.exists():
            yield f"{where} does not exist"
        elif anchor and goal.suffix == ".md" and anchor not in anchors(goal):
            yield f"{where} names no heading"


def ask(address: str) -> tuple[str, str]:
    """Whether an address answers: ("fine" | "broken" | "not reached", why)."""
    reason = ""
    for method in ("HEAD", "GET"):  # some servers do not know HEAD
        request = urllib.request.Request(address, method=method, headers={"User-Agent": AGENT})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                return "fine", ""
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code}"
            if method == "GET" and error.code in GONE:
                return "broken", reason
        except (OSError, ValueError) as error:
            return "not reached", str(getattr(error, "reason", error))
    return "not reached", reason


def check_outside(root: Path, files: list[Path]) -> int:
    """Ask for every address once, print what is broken and what could not be reached; return how many are broken."""
    places: dict[str, str] = {}
    for path in files:
        for line, target in links(path):
            if target.startswith(("http://", "https://")):
                places.setdefault(target.partition("#")[0], f"{path.relative_to(root)}:{line}")
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(places, pool.map(ask, places), strict=True))
    count = {"fine": 0, "broken": 0, "not reached": 0}
    for address, (state, reason) in answers.items():
        count[state] += 1
        if state != "fine":
            print(f"{places[address]}: {address} {state}: {reason}")
    print(f"{len(places)} addresses: " + ", ".join(f"{number} {state}" for state, number in count.items()))
    return count["broken"]


def main() -> int:
    """Check, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the links of Markdown files.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the checkout")
    parser.add_argument("--outside", action="store_true", help="ask for addresses on the web instead")
    arguments = parser.parse_args()
    root: Path = arguments.root.resolve()
    files = markdown_files(root)
    if arguments.outside:
        return 1 if check_outside(root, files) else 0
    broken = [problem for path in files for problem in broken_inside(root, path)]
    print("\n".join(broken) if broken else f"{len(files)} Markdown files, all links inside them lead somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
