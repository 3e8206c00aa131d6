"""CUDA graphs: hundreds of kernels launched as one.

A CPU core launches a kernel in some ten microseconds, and many of a frame's kernels take less. A graph holds all that
a function launched for inputs of one shape, and launches it at once for others of that shape. Capturing it takes about
as long as some frames, and it holds its inputs, so that it is only done for shapes that come again and again: those of
a memory that has filled up.
"""

import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, partial
from threading import Lock
from typing import Any, Protocol

import torch
from torch import Tensor

from uamp_model.devices import steady_attention

logger = logging.getLogger(__name__)

Function = Callable[..., Sequence[Tensor]]
"""Of tensors, some of which may be None; what it does must not depend on their values, nor wait for the device."""

_LATEST = 8
"""Calls that are looked back at to tell which shapes come again and again."""
_OFTEN = 3
_MOST = 16
"""Graphs that are kept; the one that was not asked for the longest is given up first."""


class Replayed(Protocol):
    """What stands for a function of tensors of one shape."""

    def replay(self, given: Sequence[Tensor | None]) -> list[Tensor]:
        """What the function says of these."""


class Graphs:
    """Graphs of several functions on one device, each for the shapes it is often called with.

    Threads take turns, and ask on one CUDA stream: graphs hold their inputs, so that one must be done before the next.

    Args:
        capture: makes a graph of a function for the shapes of what it is given.
    """

    def __init__(self, capture: Callable[[Function, Sequence[Tensor | None]], Replayed] | None = None) -> None:
        self._capture = capture
        self._lock = Lock()
        self._latest: dict[str, deque[Hashable]] = defaultdict(partial(deque, maxlen=_LATEST))
        self._graphs: OrderedDict[Hashable, Replayed | None] = OrderedDict()  # None where there can be none

    def call(self, name: str, function: Function, given: Sequence[Tensor | None], *fixed: Hashable) -> list[Tensor]:
        """What a function says of tensors on a GPU, by a graph where such have been given often.

        Args:
            name: of the function.
            function: the same for equal `fixed`.
            given: its arguments.
            fixed: whatever else the result depends on, such as modules.
        """
        key = (name, fixed, tuple(None if x is None else (x.shape, x.stride(), x.dtype, x.device) for x in given))
        with self._lock:
            try:
                graph = self._graph_of(key, name, function, given)
                return list(function(*given)) if graph is None else graph.replay(given)
            except torch.cuda.OutOfMemoryError:
                if not any(self._graphs.values()):
                    raise
                graph = None
                self._give_up()
            return list(function(*given))

    def _give_up(self) -> None:
        """Do without graphs of what there are any of: memory is too short for both."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # they may still be running
        self._graphs.update(dict.fromkeys(self._graphs))
        self.__dict__.pop("_place", None)

    def _graph_of(
        self, key: Hashable, name: str, function: Function, given: Sequence[Tensor | None]
    ) -> Replayed | None:
        """The graph of a function for these shapes, made now if it is time to; None where there is none."""
        if key not in self._graphs:
            latest = self._latest[name]
            latest.append(key)
            if latest.count(key) < _OFTEN:
                return None
            if len(self._graphs) >= _MOST:
                self._graphs.popitem(last=False)
            self._graphs[key] = self._try_to_capture(name, function, given)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _try_to_capture(self, name: str, function: Function, given: Sequence[Tensor | None]) -> Replayed | None:
        """A graph, or None where memory, or a driver, does not allow for one."""
        try:
            return (self._capture or self._capture_here)(function, given)
        except RuntimeError as error:
            self.__dict__.pop("_place", None)  # torch may take no more captures there
            reason = str(error).partition("\n")[0]
            logger.warning("no CUDA graph could be made of %s, which is slower without: %s", name, reason)
            return None

    def _capture_here(self, function: Function, given: Sequence[Tensor | None]) -> Replayed:
        device = next(x.device for x in given if x is not None)
        with torch.cuda.device(device), steady_attention(device, one_shape=True):
            return _Graph(function, given, *self._place)

    @cached_property
    def _place(self) -> "tuple[Any, torch.cuda.Stream]":
        """Memory for what lies between inputs and results, which graphs share since they run one after the other.

        And the stream that they are captured on: memory is shared by what is captured on the same.
        """
        return torch.cuda.graph_pool_handle(), torch.cuda.Stream()


class _Graph:
    """A function for inputs of one shape."""

    def __init__(
        self, function: Function, given: Sequence[Tensor | None], pool: Any, beside: "torch.cuda.Stream"
    ) -> None:
        self._inputs = [None if x is None else x.clone() for x in given]
        self._graph = torch.cuda.CUDAGraph()
        own = torch.cuda.current_stream()
        beside.wait_stream(own)
        try:
            with torch.cuda.stream(beside):  # kernels prepare themselves when they are first called
                for _ in range(2):
                    function(*self._inputs)
        finally:
            own.wait_stream(beside)
        _forget_workspaces()
        try:
            # other threads may go on asking things of the device, but must not wait for all of it;
            # and where a capture fails, torch does not always come back to its own stream
            with (
                torch.cuda.stream(own),
                torch.cuda.graph(self._graph, pool=pool, stream=beside, capture_error_mode="thread_local"),
            ):
                self._outputs = list(function(*self._inputs))
        finally:
            _forget_workspaces()

    def replay(self, given: Sequence[Tensor | None]) -> list[Tensor]:
        """What the function says of these."""
        for own, x in zip(self._inputs, given, strict=True):
            if own is not None and x is not None:
                own.copy_(x)
        self._graph.replay()
        return [said.clone() for said in self._outputs]


def _forget_workspaces() -> None:
    """Let cuBLAS ask for its scratch memory anew.

    So that a graph has it in its own pool: whoever else has it forgotten, as torch's compiler does, takes nothing away.
    """
    torch._C._cuda_clearCublasWorkspaces()
