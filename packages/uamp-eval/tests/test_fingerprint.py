"""What results were made with: what belongs to it, what does not, and how a difference is told."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tiny_videos import MANY, TinyVideo
from uamp_eval.fingerprint import Fingerprint, describe_sequences, differences, take_fingerprint
from uamp_eval.sequences import Ids, Image
from uamp_model import VideoTracker, build_model, load_tracker
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.layers_file import weights_digest


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    return load_tracker("nano", memory="sam2", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def taken(tracker: VideoTracker) -> Fingerprint:
    return take_fingerprint(tracker, MANY, "tiny")


def test_it_names_everything_that_decides_the_results(taken: Fingerprint, tracker: VideoTracker) -> None:
    record = json.loads(taken.as_json())
    assert record["model"] == "nano"
    assert record["weights"] == weights_digest(tracker.model)
    assert (record["memory"], record["precision"], record["image_size"]) == ("sam2", "float32", 448)
    assert record["sequences"]["cows"]["frames"] == 6
    assert set(record["versions"]) == {"uamp-eval", "uamp-model"}
    assert differences(record, take_fingerprint(tracker, MANY, "tiny")) == []


def test_the_digest_follows_the_weights_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = build_model("nano", image_size=64)
    digest = weights_digest(model)
    torch.manual_seed(0)
    assert weights_digest(build_model("nano", image_size=64)) == digest
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] += 1e-3
    assert weights_digest(model) != digest
    in_float32 = weights_digest(model)
    assert weights_digest(model.to(torch.bfloat16)) != in_float32  # a type that numpy does not know


def test_trained_layers_belong_to_it_where_they_act(tracker: VideoTracker, taken: Fingerprint) -> None:
    layers = UampLayers(tracker.base, LayerSizes.of(tracker.base))
    layers.refiner.out.weight.data.fill_(0.1)
    layered = VideoTracker(tracker.model, name="nano", memory="uamp", dtype=tracker.dtype, layers=layers)
    assert take_fingerprint(layered.with_memory("sam2"), MANY, "tiny") == taken
    told = differences(json.loads(taken.as_json()), take_fingerprint(layered, MANY, "tiny"))
    assert "the UAMP layers" in told


@dataclass(frozen=True)
class _Degraded(TinyVideo):
    """The same names and objects in other pictures, or with another mask given."""

    darker: int = 0
    darkens: int = 0
    mask_moves: bool = False

    def image(self, frame: int) -> Image:
        return super().image(frame) // np.uint8(1 + self.darker * (frame >= self.darkens))

    def annotation(self, frame: int) -> Ids:
        ids = super().annotation(frame)
        return np.roll(ids, 1, axis=0) if self.mask_moves else ids


def test_other_pixels_under_the_same_names_are_other_data() -> None:
    before = describe_sequences([_Degraded("bear")])
    assert before == describe_sequences([TinyVideo("bear")])
    assert before != describe_sequences([_Degraded("bear", darker=1)])
    assert before != describe_sequences([_Degraded("bear", darker=1, darkens=3)])
    assert before != describe_sequences([_Degraded("bear", mask_moves=True)])


def test_differences_are_told_in_words(taken: Fingerprint, tracker: VideoTracker) -> None:
    stored = json.loads(taken.as_json())
    bfloat = replace(taken, precision="bfloat16", weights="0")
    assert differences(stored, bfloat) == ["the weights", "the precision (float32 then, bfloat16 now)"]
    fewer = take_fingerprint(tracker, MANY[:1], "tiny", weights=taken.weights)
    assert differences(stored, fewer) == ["the data (3 sequences then, 1 now)"]
    longer = (MANY[0], replace(MANY[1], length=7), MANY[2])
    assert differences(stored, take_fingerprint(tracker, longer, "tiny", weights=taken.weights)) == ["the data (cows)"]
    tuned = replace(taken, memory_settings={"write": 0.5, "read": 0.0}, versions={**taken.versions, "uamp-eval": "9"})
    retuned = replace(tuned, memory_settings={"write": 0.4, "read": 0.0}, versions=taken.versions)
    assert differences(json.loads(tuned.as_json()), retuned) == [
        "the settings of the memory (write 0.5 then, 0.4 now)",
        f"the version of uamp (uamp-eval 9 then, {taken.versions['uamp-eval']} now)",
    ]
    assert differences({"format": 0}, taken) == ["the version of uamp"]


@pytest.mark.parametrize(
    "changed",
    [TinyVideo("bear", length=4, listed_every=2), TinyVideo("bear", length=4, enters={2: 0}), TinyVideo("lion")],
)
def test_listed_frames_prompts_and_names_belong_to_the_data(
    taken: Fingerprint, tracker: VideoTracker, changed: TinyVideo
) -> None:
    other = take_fingerprint(tracker, (changed, *MANY[1:]), "tiny", weights=taken.weights)
    assert len(differences(json.loads(taken.as_json()), other)) == 1
