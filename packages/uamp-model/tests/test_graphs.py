"""When a function becomes a CUDA graph, and that graphs say what the functions say."""

import gc
from collections.abc import Callable, Sequence
from threading import Thread
from weakref import WeakSet, ref

import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_model import FrameResult, Prompt, VideoTracker, build_model, load_tracker
from uamp_model.devices import Precision
from uamp_model.forms import FAST, Forms, graphed_forms, lowered_forms
from uamp_model.graphs import Graphs

SIZE = 128


class Recorded:
    """Says what the function says, and that it was asked."""

    def __init__(self, function: Callable[..., Sequence[Tensor]], given: Sequence[Tensor | None]) -> None:
        self.function, self.shapes = function, [None if x is None else x.shape for x in given]
        self.replays = 0

    def replay(self, given: Sequence[Tensor | None]) -> list[Tensor]:
        assert [None if x is None else x.shape for x in given] == self.shapes
        self.replays += 1
        return list(self.function(*given))


class Recorder:
    """Captures nothing, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.made: list[Recorded] = []

    def __call__(self, function: Callable[..., Sequence[Tensor]], given: Sequence[Tensor | None]) -> Recorded:
        self.made.append(Recorded(function, given))
        return self.made[-1]


def double(x: Tensor, nothing: Tensor | None = None) -> list[Tensor]:
    return [2 * x if nothing is None else x]


def test_what_comes_again_becomes_a_graph() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    for call in range(5):
        assert torch.equal(graphs.call("double", double, [torch.full((3,), call), None])[0], torch.full((3,), 2 * call))
        assert len(recorder.made) == (call >= 2)
    assert recorder.made[0].replays == 3


def test_a_memory_that_grows_stays_as_it_is() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    for _ in range(20):  # as many videos
        for length in range(1, 17):
            graphs.call("double", double, [torch.ones(length)])
    assert not recorder.made


def test_graphs_are_of_one_shape_layout_dtype_module_and_function() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)
    kinds = [torch.ones(2, 3), torch.ones(3, 2).t(), torch.ones(2, 3).double(), torch.ones(1, 3).expand(2, 3)]
    for x in kinds:
        for _ in range(3):
            graphs.call("double", double, [x])
    for _ in range(3):
        graphs.call("double", double, [kinds[0]], "another module")
        graphs.call("another function", double, [kinds[0]])
        graphs.call("double", double, [kinds[0], kinds[0]])
    assert len(recorder.made) == len(kinds) + 3


def test_graphs_that_nobody_asks_for_are_given_up() -> None:
    recorder = Recorder()
    graphs = Graphs(recorder)

    def ask(length: int) -> None:
        for _ in range(3):
            graphs.call("double", double, [torch.ones(length)])

    for length in range(1, 17):
        ask(length)
    ask(1)  # so that the second is the one that was not asked for the longest
    ask(17)
    assert len(recorder.made) == 17
    ask(1)
    assert len(recorder.made) == 17
    ask(2)
    assert len(recorder.made) == 18


def test_an_error_is_the_functions_own() -> None:
    def fail(x: Tensor) -> list[Tensor]:
        raise ValueError(f"no {len(x)}")

    graphs = Graphs(Recorder())
    for _ in range(4):
        with pytest.raises(ValueError, match="no 2"):
            graphs.call("fail", fail, [torch.ones(2)])
    assert torch.equal(graphs.call("double", double, [torch.ones(2)])[0], 2 * torch.ones(2))


def test_what_cannot_be_captured_is_computed_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def refuse(function: Callable[..., Sequence[Tensor]], given: Sequence[Tensor | None]) -> Recorded:
        tries.append(given)
        raise RuntimeError("CUDA out of memory.\nTried to allocate a lot.")

    graphs = Graphs(refuse)
    for call in range(6):
        assert torch.equal(graphs.call("double", double, [torch.full((3,), call)])[0], torch.full((3,), 2 * call))
    assert len(tries) == 1
    assert caplog.messages == ["no CUDA graph could be made of double, which is slower without: CUDA out of memory."]


def test_what_graphs_hold_is_given_up_where_memory_is_short() -> None:
    class Short(Recorded):
        def replay(self, given: Sequence[Tensor | None]) -> list[Tensor]:
            super().replay(given)
            if self.replays > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return list(self.function(*given))

    made = WeakSet[Short]()

    def capture(function: Callable[..., Sequence[Tensor]], given: Sequence[Tensor | None]) -> Short:
        short = Short(function, given)
        made.add(short)
        return short

    graphs = Graphs(capture)
    for call in range(12):
        assert len(made) == (call == 3)
        assert torch.equal(graphs.call("double", double, [torch.full((3,), call)])[0], torch.full((3,), 2 * call))
    assert not made  # nor captured again: it would be given up again


def test_too_little_memory_without_graphs_is_an_error() -> None:
    def fail(x: Tensor) -> list[Tensor]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Graphs(Recorder()).call("fail", fail, [torch.ones(2)])


def test_graphs_end_with_the_last_that_knows_them() -> None:
    graphs = Graphs()
    alive = ref(graphs)
    gc.disable()
    try:
        del graphs
        assert alive() is None
    finally:
        gc.enable()


def scene(index: int) -> np.ndarray:
    """Two discs that move over a slope of grey."""
    y, x = np.mgrid[:96, :128]
    frame = np.stack([x + y, x, y], axis=-1).astype(np.uint8)
    for (cx, cy), colour in (((30 + index, 40), (250, 40, 40)), ((90 - index, 60), (40, 250, 40))):
        frame[(x - cx) ** 2 + (y - cy) ** 2 < 15**2] = colour
    return frame


def tracked(device: str, precision: Precision, forms: Forms | None = None, *, budget: float = 1.0) -> list[FrameResult]:
    """Thirty frames, with objects that come and go and a correction; by the tracker's own forms, or others."""
    tracker = load_tracker(
        "nano", image_size=SIZE, device=device, precision=precision, exact=False, memory="uamp", memory_budget=budget
    )
    tracker.forms = forms or tracker.forms
    session = tracker.start()
    found = []
    for index in range(30):
        prompts = {0: {1: Prompt.box(15, 25, 45, 55), 2: Prompt.box(75, 45, 105, 75)}, 20: {3: Prompt.points([(8, 8)])}}
        found.append(session.step(scene(index), prompts.get(index)))
        if index == 22:
            session.correct({1: Prompt.points([(30 + index, 40)])})
        if index == 25:
            session.remove(2)
    return found


@pytest.mark.parametrize("budget", [1.0, 0.25])
def test_graphs_are_given_all_that_a_frame_depends_on(budget: float) -> None:
    recorder = Recorder()
    plain = tracked("cpu", "fp32", budget=budget)
    graphed = tracked("cpu", "fp32", graphed_forms(FAST, Graphs(recorder)), budget=budget)
    assert len(recorder.made) > 4
    for a, b in zip(plain, graphed, strict=True):
        assert torch.equal(a.logits, b.logits)


def test_weights_that_were_converted_before() -> None:
    plain = tracked("cpu", "bf16")
    before = tracked("cpu", "bf16", lowered_forms(FAST, torch.bfloat16))
    for a, b in zip(plain, before, strict=True):
        assert float((a.masks == b.masks).float().mean()) > 0.99


@pytest.mark.cuda
@pytest.mark.parametrize(("precision", "alike"), [("fp32", 0.999), ("bf16", 0.95)])
@pytest.mark.parametrize("budget", [1.0, 0.25])
def test_masks_are_those_of_the_plain_forms(precision: Precision, alike: float, budget: float) -> None:
    plain, graphed = (tracked("cuda", precision, forms, budget=budget) for forms in (FAST, None))
    assert float(plain[18].masks.float().mean()) > 0.01
    for a, b in zip(plain, graphed, strict=True):
        assert a.object_ids == b.object_ids
        assert float((a.masks == b.masks).float().mean()) > alike


@pytest.mark.cuda
def test_a_frame_that_was_captured_is_computed_anew() -> None:
    """Graphs hold their inputs: what another frame gave must not show through."""
    tracker = VideoTracker(build_model("nano", image_size=SIZE).to("cuda"), name="nano", dtype=torch.float32)
    made = np.random.default_rng(0)
    frames = [made.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(6)]
    for frame in frames[:4]:
        tracker.encode(frame)
    kept = [tracker.encode(frame) for frame in frames[4:]]
    tracker.forms = FAST
    for features, frame in zip(kept, frames[4:], strict=True):
        torch.testing.assert_close(features.stride16, tracker.encode(frame).stride16, rtol=1e-3, atol=1e-3)


@pytest.mark.cuda
def test_a_graph_outlives_the_thread_that_captured_it() -> None:
    tracker = VideoTracker(build_model("nano", image_size=SIZE).to("cuda"), name="nano", dtype=torch.bfloat16)
    found: list[list[FrameResult]] = []

    def track() -> None:
        session = tracker.start()
        prompts = {1: Prompt.box(15, 25, 45, 55)}
        found.append([session.step(scene(index), None if index else prompts) for index in range(24)])

    for _ in range(2):
        thread = Thread(target=track)
        thread.start()
        thread.join()
    assert len(found) == 2
    for a, b in zip(*found, strict=True):
        assert float((a.masks == b.masks).float().mean()) > 0.95


@pytest.mark.cuda
def test_a_capture_that_fails_leaves_the_others_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    def waits(x: Tensor) -> list[Tensor]:
        return [2 * x + x.sum().item()]  # which a graph cannot

    graphs, own = Graphs(), torch.cuda.current_stream()
    for call in range(6):
        x = torch.full((3,), float(call), device="cuda")
        assert torch.equal(graphs.call("double", double, [x])[0], 2 * x)
        assert torch.equal(graphs.call("waits", waits, [x])[0], 2 * x + x.sum())
        assert torch.equal(
            graphs.call("later", double, [x] if call > 2 else [x[:1]])[0], 2 * (x if call > 2 else x[:1])
        )
        assert torch.cuda.current_stream() == own
    assert len(caplog.messages) == 1
    assert sum(graph is not None for graph in graphs._graphs.values()) == 3


@pytest.mark.cuda
def test_where_a_gpus_memory_is_short_graphs_are_given_up() -> None:
    held: list[Tensor] = []

    def wants_all(x: Tensor) -> list[Tensor]:
        held.append(torch.empty(free + 2**20, dtype=torch.uint8, device="cuda"))
        return [2 * x]

    graphs = Graphs()
    large = torch.ones(2**28, device="cuda")
    for _ in range(4):
        assert torch.equal(graphs.call("double", double, [large])[0][:9], 2 * large[:9])
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    assert torch.equal(graphs.call("all", wants_all, [large[:9]])[0], 2 * large[:9])
    assert len(held) == 1
    assert not any(graphs._graphs.values())


@pytest.mark.cuda
def test_trackers_in_several_threads_take_turns() -> None:
    made: dict[int, list[FrameResult]] = {}

    def track(number: int) -> None:
        made[number] = tracked("cuda", "bf16")

    threads = [Thread(target=track, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = tracked("cuda", "bf16")
    assert len(made) == 3
    for results in made.values():
        for a, b in zip(alone, results, strict=True):
            assert float((a.masks == b.masks).float().mean()) > 0.95


@pytest.mark.cuda
def test_what_graphs_no_longer_kept_held_is_used_again() -> None:
    """Objects come and go: shapes change, and what is captured for one is captured in the place of another."""
    tracker = VideoTracker(build_model("nano", image_size=SIZE).to("cuda"), name="nano", dtype=torch.bfloat16)
    held = []
    for count in (1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6):
        session = tracker.start()
        prompts = {n: Prompt.box(8 * n, 25, 8 * n + 30, 55) for n in range(1, count + 1)}
        for index in range(22):
            session.step(scene(index), None if index else prompts)
        held.append(torch.cuda.memory_reserved())
    assert held[-1] < 1.25 * held[5]
