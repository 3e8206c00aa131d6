"""`uamp info`."""

from collections.abc import Callable
from typing import Any

import torch


def test_info_says_what_a_bug_report_needs(run: Callable[..., Any]) -> None:
    outcome = run("info")
    assert outcome.code == 0
    for word in (
        "python",
        "uamp-model",
        torch.__version__.split("+")[0],
        "1 thread,",
        "bfloat16",
        "cuda",
        "mps",
        "pycocotools",
        "libx264",
        "weights",
    ):
        assert word in outcome.out
