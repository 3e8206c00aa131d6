"""`uamp info`: what a bug report needs to say about this machine."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from uamp_data.words import counted

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
    "opencv-python",
    "pillow",
    "pycocotools",
    "gradio",
    "typer",
    "rich",
)
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF", "UAMP_CACHE")


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False) -> None:
    """Show versions, devices and threads, for a bug report."""
    rows = [("python", f"{platform.python_version()} ({sys.executable})"), ("system", platform.platform())]
    rows += [(name, _version(name)) for name in _PACKAGES]
    rows += [("ffmpeg", _ffmpeg()), ("--select", _windows()), *_devices(), ("weights", _weights())]
    rows += [(name, os.environ[name]) for name in _VARIABLES if name in os.environ]
    if as_json:
        import json

        typer.echo(json.dumps(dict(rows), indent=1))
        return
    for name, value in rows:
        out_console().print(f"{name:<23} {value}", highlight=False, markup=False, soft_wrap=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _ffmpeg() -> str:
    """FFmpeg's libraries as PyAV brings them, and which of the encoders that are used it has."""
    import av
    from av.codec import Codec, codecs_available

    libraries = f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
    wanted = ("libx264", "prores_ks", "libvpx-vp9", "aac", "libopus")
    missing = [name for name in wanted if name not in codecs_available or not Codec(name, "w").is_encoder]
    return libraries + (f", without {', '.join(missing)}" if missing else f" with {', '.join(wanted)}")


def _windows() -> str:
    """Whether `--select` could open one."""
    from uamp_model.errors import InputError

    from uamp_cli.selection import check_window

    try:
        check_window()
    except InputError as error:
        return f"no: {error}"
    return "yes"


def _weights() -> str:
    from uamp_model.catalog import MODELS
    from uamp_model.download import checkpoint_path

    return ", ".join(spec.name for spec in MODELS.values() if checkpoint_path(spec).is_file()) or "none"


def _devices() -> list[tuple[str, str]]:
    import torch
    from uamp_model.devices import choose_device, choose_dtype, has_kernels

    chosen, processors = choose_device("auto"), counted(os.cpu_count() or 1, "processor")
    rows = [
        ("cpu", f"{processors}, {counted(torch.get_num_threads(), 'thread')}, {platform.machine()}"),
        (
            "cpu bfloat16",
            "yes" if choose_dtype("auto", torch.device("cpu"), image_size=1024) == torch.bfloat16 else "no",
        ),
    ]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        computes = has_kernels((properties.major, properties.minor), torch.cuda.get_arch_list())
        remark = "" if computes else ", which this torch has no kernels for"
        rows.append((f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB{remark}"))
    if count:
        rows.append(("cuda bfloat16", "yes" if torch.cuda.is_bf16_supported() else "no"))
    else:
        rows.append(("cuda", f"none (torch built for CUDA {torch.version.cuda})" if torch.version.cuda else "none"))
    rows.append(("mps", "yes" if torch.backends.mps.is_available() else "none"))
    rows.append(("--device auto", str(chosen)))
    return rows
