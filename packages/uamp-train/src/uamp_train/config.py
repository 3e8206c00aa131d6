"""What a training run is told: one frozen, strict model of every key. `config_loading.py` reads it from YAML."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from uamp_model.catalog import LARGEST_SIDE, SIDE_STEP
from uamp_model.presets import UAMP

Source = Literal["synthetic", "davis", "davis2016", "davis2017", "youtube_vos", "folders"]
"""Where clips come from; `davis` takes the year whose lists are there, 2017 before 2016."""

Family = Literal["mixed", "occlusion", "lookalike", "fast", "reentry", "scale", "light", "calm"]
"""What a generated clip shows; `mixed` is any of the others."""

_SPELLINGS = {
    "davis_2016": "davis2016",
    "davis_2017": "davis2017",
    "youtubevos": "youtube_vos",
    "ytvos": "youtube_vos",
    "folder": "folders",
}

_LARGEST_SEED = 2**64 - 1
"""The largest that torch takes."""


def with_home(value: object) -> object:
    """A path that begins at `~` as a shell would give it, or as it is where there is no such home."""
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111 - `Path.expanduser` raises there


def spelled(dataset: object) -> object:
    """A data set's name as it is known here: `youtube-vos`, `YouTube-VOS` and `ytvos` are `youtube_vos`."""
    if not isinstance(dataset, str):
        return dataset
    name = dataset.strip().lower().replace("-", "_")
    return _SPELLINGS.get(name, name)


HomePath = Annotated[Path, BeforeValidator(with_home)]
"""What every path in the configuration is."""


class Contradiction(ValueError):
    """Settings that are each right but cannot go together.

    Attributes:
        key: the one to name.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Stage(_Strict):
    """A stretch of the curriculum with its own clip shape; the weights carry on from the stage before."""

    steps: int = Field(gt=0, description="how long it lasts")
    image_size: int = Field(gt=0, le=LARGEST_SIDE, multiple_of=SIDE_STEP, description="input side S in pixels")
    num_frames: int = Field(gt=0, description="frames T of a clip")
    batch_size: int = Field(gt=0, description="clips B per process and step")
    max_stride: int = Field(4, gt=0, description="largest gap between a clip's frames")
    still_share: float | None = Field(None, ge=0, le=1, description="overrides the run's still_share")
    free_frames: int | None = Field(None, ge=0, description="overrides the run's free_frames")


class PromptShares(_Strict):
    """How often each kind of prompt starts a clip; relative weights. Stills never use masks."""

    mask: float = Field(0.5, ge=0, description="the object's true mask")
    box: float = Field(0.2, ge=0, description="its box, drawn by a shaky hand")
    point: float = Field(0.2, ge=0, description="one click on the object")
    points: float = Field(0.1, ge=0, description="two to four clicks, on and beside the object")

    @model_validator(mode="after")
    def _some_prompt(self) -> "PromptShares":
        if self.box + self.point + self.points <= 0:
            raise ValueError("box, point and points cannot all be 0, since stills need one of them")
        return self


class LossWeights(_Strict):
    """Factors of the loss terms, by default SAM 2's; a model from scratch profits from a dice of 3."""

    focal: float = Field(20.0, ge=0, description="of the masks' pixels, hard ones first")
    dice: float = Field(1.0, ge=0, description="of the masks' overlap")
    iou: float = Field(1.0, ge=0, description="of the predicted IoU")
    presence: float = Field(1.0, ge=0, description="of whether the object is in view")
    uncertainty: float = Field(1.0, ge=0, description="of the learned uncertainty map")


class LayerOptions(_Strict):
    """The UAMP layers that are trained while SAM 2 is frozen, and how."""

    adapter: bool = Field(True, description="learn low-rank corrections of SAM 2's own weights, which stay as they are")
    adapter_rank: int = Field(8, gt=0, description="of these corrections")
    adapter_encoder: bool = Field(
        False, description="correct the image encoder too, for pictures it was not made for; costs time and memory"
    )
    head: bool = Field(True, description="learn the uncertainty map, and how far it acts on memory")
    refiner: bool = Field(True, description="learn to correct what the mask decoder is given")
    second_look: bool = Field(True, description="learn to decode a second time, knowing the first mask and its doubt")
    second_look_above: float = Field(
        UAMP.second_look_above,
        ge=0,
        lt=1,
        description="doubt of the first mask from which the second decides; 0: everywhere",
    )
    hidden: int = Field(96, gt=0, multiple_of=8, description="channels inside the refiner and the second look")
    doubt_input: bool = Field(True, description="show the uncertainty to both; false measures what it is worth to them")
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="share of objects that train without the refiner, and of those without second look"
    )
    uncertainty_target: Literal["error", "change", "both"] = Field(
        "error", description="where the mask is wrong, where the object changed since the last frame, or either"
    )


class PoolSettings(_Strict):
    """The pool of generated clips that is built once and used by every run with the same settings."""

    clips: int = Field(400, gt=0, description="how many")
    frames: int = Field(24, gt=0, description="frames of each")
    size: int = Field(288, gt=0, description="side of the stored frames in pixels")
    seed: int = Field(0, ge=0, description="another seed gives other clips")
    families: tuple[Family, ...] = Field(
        ("mixed",), min_length=1, description="what the clips show, in turn; a name may come more than once"
    )
    folder: HomePath = Field(Path("runs/pool"), description="where it lies; it is built once")


class Augment(_Strict):
    """How often a clip of a data set on disk is changed in each way, alike on all its frames; 0 is never.

    In YAML, `augment: false` switches all of them off. Generated clips have changes of their own instead, unless crop,
    affine, colour, grey and paste are all 0.
    """

    flip: float = Field(0.5, ge=0, le=1, description="left and right exchanged")
    crop: float = Field(0.8, ge=0, le=1, description="a part of the picture that holds an object of the first frame")
    affine: float = Field(0.5, ge=0, le=1, description="turned, sheared, scaled and moved a little")
    colour: float = Field(0.8, ge=0, le=1, description="brightness, contrast, saturation and hue")
    grey: float = Field(0.05, ge=0, le=1, description="without colour")
    paste: float = Field(0.0, ge=0, le=1, description="an object of another sequence in front, as one more to follow")

    @property
    def is_endless(self) -> bool:
        """Whether a frame may look different each time it is drawn; a flip gives it but one other look."""
        return any((self.crop, self.affine, self.colour, self.grey, self.paste))


NO_AUGMENT = Augment(flip=0, crop=0, affine=0, colour=0, grey=0, paste=0)


def switched(augment: object) -> object:
    """`augment: false` is none of it, `true` the defaults; as keys, so that one of them can be set."""
    if isinstance(augment, bool):
        return (Augment() if augment else NO_AUGMENT).model_dump()
    return augment


class DataPart(_Strict):
    """One part of a mix of data sets."""

    dataset: Source = Field(description="any but `mix`")
    weight: float = Field(1.0, gt=0, description="how often clips are drawn from it, against the other parts")
    root: HomePath | None = Field(None, description="its folder; none: dataset_root")
    split: str | None = Field(None, description="its split; none: dataset_split")

    _spelling = field_validator("dataset", mode="before")(spelled)


class TrainConfig(_Strict):
    """Every key of a training run."""

    # what to train, and where it goes
    experiment_name: str = Field("train", description="the run's folder in save_dir")
    model: str = Field("nano", description="a name of the model catalog")
    sam2_model_type: str | None = Field(None, description="another spelling of `model`")
    sam2_checkpoint: HomePath | None = Field(
        None,
        description="SAM 2's weights to start from; none: all the published ones where any part of it stays frozen, "
        "else random ones",
    )
    uamp_checkpoint: HomePath | None = Field(
        None, description="UAMP layers to start from; none: those that change nothing"
    )
    save_dir: HomePath = Field(Path("runs"), description="checkpoints, metrics and the resolved configuration go there")
    seed: int = Field(0, ge=0, le=_LARGEST_SEED, description="same seed, same run")

    # the machine
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="`auto`: a GPU if there is one")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="what the network computes in; bf16 is faster on GPUs"
    )
    threads: int = Field(0, ge=0, description="CPU threads of a process; 0: as torch likes")
    num_workers: int = Field(
        1, ge=0, description="threads that prepare the next batches; 0: none, each is made when its step begins"
    )
    worker_processes: bool = Field(
        False, description="processes do it instead of threads, which get in each other's way where a GPU wants many"
    )

    # data
    dataset: Literal["synthetic", "davis", "davis2016", "davis2017", "youtube_vos", "folders", "mix"] = Field(
        "synthetic",
        description="`davis` takes 2017 where its lists are there, else 2016; `folders`: any DAVIS-like tree",
    )
    dataset_root: HomePath | None = Field(None, description="folder of the data set")
    dataset_split: str = Field("train", description="its split; plain folders have none")
    mix: tuple[DataPart, ...] = Field((), description="parts of `dataset: mix`, also as `{synthetic: 0.5, davis: 0.5}`")
    train_sequences: tuple[str, ...] = Field((), description="train on these alone; none: all that are not held out")
    val_sequences: tuple[str, ...] = Field(
        (), description="held out for validation; none: a tenth of the training sequences, if there is validation"
    )
    val_dataset_root: HomePath | None = Field(
        None, description="validate on this data set instead; its split is `val`, and nothing is held out"
    )
    val_frames: int = Field(0, ge=0, description="frames of a validation sequence that are tracked; 0: all")
    val_image_size: int = Field(
        0,
        ge=0,
        le=LARGEST_SIDE,
        multiple_of=SIDE_STEP,
        description="input side S in validation; 0: the model's own, as in use",
    )
    max_bad_samples: int = Field(
        10, ge=0, description="so many unreadable clips are named and replaced, in each process; one more is an error"
    )
    augment: Augment = Field(Augment(), description="changes to clips of data sets on disk; false: none")
    cache_features: bool = Field(False, description="compute what the frozen image encoder says of a frame only once")
    cache_folder: HomePath = Field(Path("runs/features"), description="where these features lie")
    pool: PoolSettings = PoolSettings()
    batch_size: int = Field(4, gt=0, description="clips B per process and step")
    num_frames: int = Field(4, gt=0, description="frames T of a clip")
    image_size: int = Field(256, gt=0, le=LARGEST_SIDE, multiple_of=SIDE_STEP, description="input side S in pixels")
    max_stride: int = Field(4, gt=0, description="largest gap between a clip's frames, in annotated frames")
    free_frames: int = Field(0, ge=0, description="frames tracked without gradient before those that are learned from")
    stages: tuple[Stage, ...] = Field((), description="the curriculum; none: one stage of the keys above")
    memory_budget: float = Field(
        1.0, ge=0.2, le=1, description="share of memory that is read while layers learn, as in `uamp demo`"
    )
    max_objects: int = Field(2, gt=0, description="objects drawn from a clip")
    min_object_area: float = Field(0.003, ge=0, lt=1, description="share of the first frame an object must cover")
    still_share: float = Field(0.0, ge=0, le=1, description="share of steps on B·T single frames")
    prompt_shares: PromptShares = PromptShares()
    true_presence: bool = Field(False, description="tell the memory the true presence, as from scratch one must")

    # what learns
    freeze_sam2_backbone: bool = Field(False, description="everything but the UAMP layers stays as it is")
    freeze_sam2_image_encoder: bool = Field(False, description="the image encoder stays as it is")
    freeze_sam2_mask_decoder: bool = Field(False, description="the mask decoder stays as it is")
    layers: LayerOptions = LayerOptions()
    loss: LossWeights = LossWeights()
    optimizer: Literal["adamw"] = Field("adamw", description="AdamW; norms and biases do not decay")
    lr: float = Field(1e-4, gt=0, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, description="of all other weights")
    lr_scheduler: Literal["cosine", "stable", "constant"] = Field(
        "cosine", description="how the rate falls after the warm-up; `stable` only at the end"
    )
    decay_share: float = Field(0.25, gt=0, le=1, description="share of the steps over which a stable rate falls")
    warmup_steps: int = Field(0, ge=0, description="steps in which the rate rises")
    warmup_epochs: float = Field(0, ge=0, description="used where warmup_steps is 0")
    grad_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    gradient_accumulation: int = Field(1, gt=0, description="batches of a step")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the running average of the weights, which is exported")

    # how long, and what is said on the way
    num_epochs: int = Field(1, gt=0, description="passes over the clips, where there are no stages")
    max_steps: int = Field(0, ge=0, description="stop here, whatever the schedule; 0: at its end")
    log_interval: int = Field(20, gt=0, description="steps between two reports")
    save_interval: int = Field(500, gt=0, description="steps between two checkpoints")
    val_interval: int = Field(0, ge=0, description="epochs between two validations; 0: never")
    use_wandb: bool = Field(False, description="log to Weights & Biases; offline where nobody is logged in")
    use_tensorboard: bool = Field(False, description="log to TensorBoard, in the run's folder")

    _spelling = field_validator("dataset", mode="before")(spelled)

    _switch = field_validator("augment", mode="before")(switched)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        for key, problem in _contradictions(self):
            raise Contradiction(key, problem)
        return self

    @property
    def parts(self) -> tuple[DataPart, ...]:
        """Where clips come from, each with its root and split."""
        parts = self.mix if self.dataset == "mix" else (DataPart(dataset=self.dataset),)
        missing = {"root": self.dataset_root, "split": self.dataset_split}
        return tuple(
            part.model_copy(update={key: value for key, value in missing.items() if getattr(part, key) is None})
            for part in parts
        )

    @property
    def leaves_validation_open(self) -> bool:
        """Whether nothing is named to validate on though data lie on disk: validation then holds a part of them out."""
        on_disk = any(part.dataset != "synthetic" for part in self.parts)
        return on_disk and not self.val_sequences and self.val_dataset_root is None

    @property
    def freezes_sam2(self) -> bool:
        """Whether any part of SAM 2 stays as it is."""
        return self.freeze_sam2_backbone or self.freeze_sam2_image_encoder or self.freeze_sam2_mask_decoder

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether image features stay the same; SAM 2 makes a part of them in its mask decoder."""
        return self.freeze_sam2_backbone or (self.freeze_sam2_image_encoder and self.freeze_sam2_mask_decoder)

    @property
    def model_name(self) -> str:
        """The model, by whichever of its two keys."""
        return self.sam2_model_type or self.model

    @property
    def run_dir(self) -> Path:
        """Folder of this run's checkpoints, metrics and configuration."""
        return self.save_dir / self.experiment_name

    def curriculum(self, clips: int, processes: int = 1) -> tuple[Stage, ...]:
        """The stages, made of the plain keys and `num_epochs` passes over the clips where none are listed."""
        if self.stages:
            return self.stages
        return (
            Stage(
                steps=self.num_epochs * self.steps_per_epoch(clips, processes),
                image_size=self.image_size,
                num_frames=self.num_frames,
                batch_size=self.batch_size,
                max_stride=self.max_stride,
            ),
        )

    def steps_per_epoch(self, clips: int, processes: int = 1) -> int:
        """Steps in which about every clip is seen once."""
        batch = self.stages[0].batch_size if self.stages else self.batch_size
        return max(1, clips // (batch * processes * self.gradient_accumulation))


def _contradictions(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Settings that are each right but cannot go together: the key to name and what is wrong."""
    if config.dataset == "mix" and not config.mix:
        yield "dataset", "a mix needs the key mix, such as {synthetic: 0.5, davis: 0.5}"
    if config.mix and config.dataset != "mix":
        yield "mix", f"the parts of a mix are not used while dataset is {config.dataset}, so set dataset to mix"
    on_disk = [part for part in config.parts if part.dataset != "synthetic"]
    for part in on_disk:
        if part.root is None:
            yield "dataset", f"{part.dataset} lies on disk, so set dataset_root to its folder"
    if not on_disk:
        for key in ("train_sequences", "val_sequences"):
            if getattr(config, key) and not (key == "val_sequences" and config.val_dataset_root):
                yield key, "generated clips have no sequence names, so leave it out or choose another dataset"
    both = sorted(set(config.train_sequences) & set(config.val_sequences))
    if both and config.val_dataset_root is None:
        yield "val_sequences", f"{both[0]} is in train_sequences too, so that nothing would be held out"
    if config.cache_features and not config.encoder_is_frozen:
        yield "cache_features", "features of weights that learn change with them, so set freeze_sam2_backbone to true"
    if config.cache_features and config.layers.adapter and config.layers.adapter_encoder:
        yield (
            "cache_features",
            "an image encoder that is corrected has no lasting features, so set layers.adapter_encoder to false",
        )
    if config.cache_features and config.worker_processes:
        yield "cache_features", "features are looked up by threads, so set worker_processes to false"
    if config.cache_features and config.augment.is_endless:
        yield (
            "cache_features",
            "features of frames that look different each time cannot be kept, so set augment to false",
        )
    # Without these changes a pool is read like sequences on disk, to and fro where they are too short.
    if len(on_disk) < len(config.parts) and config.augment.is_endless:
        yield from _beyond_the_pool(config)
    if config.sam2_model_type and config.model not in ("nano", config.sam2_model_type):
        yield "model", f"sam2_model_type says {config.sam2_model_type}, so leave one of the two out"


def _beyond_the_pool(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Clips of more frames than the pool's; stills have but one."""
    key, frames = "stages" if config.stages else "num_frames", config.pool.frames
    for stage in config.curriculum(clips=1):
        stills = config.still_share if stage.still_share is None else stage.still_share
        if stage.num_frames > frames and stills < 1:
            wanted = f"ask for 1 to {frames}, not {stage.num_frames}, or raise pool.frames"
            yield key, f"the pool's clips have {frames} frames, so {wanted}"
