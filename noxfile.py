"""The project's chores. `nox` runs the tests; `nox --list` shows the rest.

Everyday sessions (tests, lint, demo) work in the one environment that uv keeps for this checkout. `build`,
`minimums` and `newest` make environments of their own, hard-linked from uv's cache.
"""

import os
import shutil
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
PACKAGES = ("uamp-model", "uamp-data", "uamp-eval", "uamp-train", "uamp-cli")
EXTRAS = {"uamp-cli": "[ui]"}  # without them not all of a package's modules import
NANO_WEIGHTS = ("uamp_model/weights/nano.safetensors", "uamp_model/weights/nano_rehearsal.safetensors")
IMPORT_ALL = """
import importlib, pkgutil, sys
name = sys.argv[1]
for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name != "triton":  # torch brings it along where there is CUDA
            raise
print(name, "and all its modules import")
"""


def find_uv() -> str:
    """Return the uv that started us (`uv run` says so in UV), the checkout's own, or the one on PATH."""
    for candidate in (os.environ.get("UV"), str(ROOT / ".tools/bin/uv"), "uv"):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise FileNotFoundError("uv is missing: run `python3 -m pip install --target .tools uv` first")


UV = find_uv()


def uv_run(session: nox.Session, *command: str) -> None:
    """Run a command in this checkout's environment, after bringing that up to date."""
    session.run(UV, "run", *command, external=True)


def set_up_processes(session: nox.Session) -> None:
    """Let the tests' processes, of which there are dozens, start and run fast."""
    # Models this small run faster on one thread than on threads that wait for each other.
    session.env.setdefault("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    # Where no bytecode may be kept, each process would compile torch's sources anew.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""


@nox.session
def tests(session: nox.Session) -> None:
    """Test all packages on CPU but for what is slow. Further arguments go to pytest: `nox -s tests -- -k memory`."""
    set_up_processes(session)
    # Files go to several processes, each with torch in its memory; what a file's tests share is made once.
    side_by_side = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
    uv_run(session, "pytest", "-m", "not slow", *side_by_side, *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests: parity at 1024 px, sessions of 10,000 frames. Further arguments go to pytest."""
    uv_run(session, "pytest", "-m", "slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style (ruff), types (mypy, strict), who imports whom (import-linter), what is declared (deptry)."""
    uv_run(session, "ruff", "check")
    uv_run(session, "ruff", "format", "--check")
    uv_run(session, "mypy", "noxfile.py", "docs/check_links.py")
    # One run for each package, because test modules of different packages may share a name.
    for package in PACKAGES:
        uv_run(session, "mypy", f"packages/{package}")
        uv_run(session, "deptry", f"packages/{package}/src", "--config", f"packages/{package}/pyproject.toml")
    if (ROOT / "benchmarks").is_dir():
        uv_run(session, "mypy", "benchmarks")
    uv_run(session, "lint-imports")


@nox.session
def links(session: nox.Session) -> None:
    """Check the links of all Markdown files, those to the web too; says which of these could not be reached."""
    session.run("python3", "docs/check_links.py", external=True)
    session.run("python3", "docs/check_links.py", "--outside", external=True)


@nox.session
def demo(session: nox.Session) -> None:
    """Run `uamp demo`. Further arguments go to it: `nox -s demo -- --input video.mp4`."""
    uv_run(session, "uamp", "demo", *session.posargs)


def build_wheels(session: nox.Session, target: Path) -> dict[str, Path]:
    """Build every package's wheel into an empty folder; return the wheels by package name."""
    shutil.rmtree(target, ignore_errors=True)
    session.run(UV, "build", "--all-packages", "--wheel", "--out-dir", str(target), external=True)
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in target.glob("*.whl")}
    if set(wheels) != set(PACKAGES):
        session.error(f"expected a wheel for each of {', '.join(PACKAGES)}; got {', '.join(sorted(wheels))}")
    return wheels


def check_contents(session: nox.Session, package: str, wheel: Path) -> None:
    """Check that a wheel carries its type marker, its licence and, for the model, the bundled weights."""
    module = package.replace("-", "_")
    names = zipfile.ZipFile(wheel).namelist()
    wanted = [f"{module}/py.typed"]
    if package == "uamp-model":
        wanted += NANO_WEIGHTS
    missing = [name for name in wanted if name not in names]
    missing += [] if any(name.endswith("/licenses/LICENSE") for name in names) else ["LICENSE"]
    if missing:
        session.error(f"{wheel.name} lacks {', '.join(missing)}")
    strays = [name for name in names if not name.startswith((f"{module}/", f"{module}-"))]
    if strays:
        session.error(f"{wheel.name} would install {', '.join(strays)} beside its package")


@nox.session
def build(session: nox.Session) -> None:
    """Build every wheel, install each alone into a fresh environment and import it there.

    An environment of its own catches what the shared one hides: undeclared imports and wrong version ranges.
    """
    folder = Path(session.create_tmp()).resolve()
    wheels = build_wheels(session, folder / "dist")
    # Without these uv would take an earlier build of the same version from its cache.
    fresh = [part for package in PACKAGES for part in ("--refresh-package", package)]
    for package, wheel in wheels.items():
        check_contents(session, package, wheel)
        environment = folder / package
        python = str(environment / "bin" / "python")
        session.run(UV, "venv", "--quiet", "--clear", str(environment), external=True)
        install = (UV, "pip", "install", "--quiet", "--python", python, "--find-links", str(folder / "dist"))
        session.run(*install, *fresh, f"{wheel}{EXTRAS.get(package, '')}", external=True, log=False)
        session.run(python, "-c", IMPORT_ALL, package.replace("-", "_"), external=True, log=False)
        shutil.rmtree(environment)


def make_environment(session: nox.Session, version: str, *resolution: str) -> str:
    """Return the interpreter of a new environment with all packages, whose sources stay where they are."""
    environment = Path(session.create_tmp()).resolve() / "environment"
    python = str(environment / "bin" / "python")
    session.run(UV, "venv", "--quiet", "--clear", "--python", version, str(environment), external=True)
    members = [part for package in PACKAGES for part in ("--editable", f"packages/{package}")]
    # torchvision comes with sam2 and fits one torch alone: named here, it is resolved together with torch.
    direct = (*members, "torchvision>=0.20.1", "--group", "test")
    session.run(UV, "pip", "install", "--python", python, *resolution, *direct, external=True)
    return python


@nox.session
def minimums(session: nox.Session) -> None:
    """Test with the lowest version that each package declares for what it imports, on the lowest Python."""
    python = make_environment(session, "3.11", "--resolution", "lowest-direct")
    set_up_processes(session)
    # Old releases may warn about each other; that is no error of ours.
    session.run(python, "-m", "pytest", "-m", "not slow", "-W", "default", *session.posargs, external=True)


@nox.session
def newest(session: nox.Session) -> None:
    """Test on a newer Python, whose newest packages may be others: `nox -s newest -- 3.13 packages/uamp-data`."""
    version, *arguments = session.posargs or ["3.13"]
    python = make_environment(session, version)
    set_up_processes(session)
    session.run(python, "-m", "pytest", "-m", "not slow", *arguments, external=True)
