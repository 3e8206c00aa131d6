"""`uamp info`: what a bug report needs to say about this machine."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import typer

from uamp_cli.terminal import out_console

_PACKAGES = (
    "uamp-cli",
    "uamp-model",
    "uamp-data",
    "uamp-eval",
    "uamp-train",
    "torch",
    "torchvision",
    "sam2",
    "av",
    "numpy",
    "opencv-python-headless",
)


def info() -> None:
    """Show versions, devices and threads, for a bug report."""
    rows = [("python", f"{platform.python_version()} ({sys.executable})"), ("system", platform.platform())]
    rows += [(name, _version(name)) for name in _PACKAGES]
    rows += _devices()
    for name, value in rows:
        out_console().print(f"{name:<23} {value}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[tuple[str, str]]:
    import os

    import torch
    from uamp_model.devices import choose_device, choose_dtype

    chosen = choose_device("auto")
    rows = [
        ("cpu", f"{os.cpu_count()} processors, {torch.get_num_threads()} threads"),
        (
            "cpu bfloat16",
            "yes" if choose_dtype("auto", torch.device("cpu"), image_size=1024) == torch.bfloat16 else "no",
        ),
    ]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        rows.append((f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    if count:
        rows.append(("cuda bfloat16", "yes" if torch.cuda.is_bf16_supported() else "no"))
    else:
        rows.append(("cuda", f"none (torch built for CUDA {torch.version.cuda})" if torch.version.cuda else "none"))
    rows.append(("mps", "yes" if torch.backends.mps.is_available() else "none"))
    rows.append(("--device auto", str(chosen)))
    return rows
