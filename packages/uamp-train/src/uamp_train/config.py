"""What a training run is told: one frozen, strict model of every key. `config_loading.py` reads it from YAML."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Stage(_Strict):
    """A stretch of the curriculum with its own clip shape; the weights carry on from the stage before."""

    steps: int = Field(gt=0)
    image_size: int = Field(gt=0, multiple_of=32, description="input side S in pixels")
    num_frames: int = Field(gt=0, description="frames T of a clip")
    batch_size: int = Field(gt=0, description="clips B per process and step")
    max_stride: int = Field(4, gt=0, description="largest gap between a clip's frames")
    still_share: float | None = Field(None, ge=0, le=1, description="overrides the run's still_share")


class PromptShares(_Strict):
    """How often each kind of prompt starts a clip; relative weights. Stills never use masks."""

    mask: float = Field(0.5, ge=0)
    box: float = Field(0.2, ge=0)
    point: float = Field(0.2, ge=0, description="one click on the object")
    points: float = Field(0.1, ge=0, description="two to four clicks, on and beside the object")

    @model_validator(mode="after")
    def _some_prompt(self) -> "PromptShares":
        if self.box + self.point + self.points <= 0:
            raise ValueError("box, point and points cannot all be 0, since stills need one of them")
        return self


class LossWeights(_Strict):
    """Factors of the loss terms; SAM 2's recipe but for dice, where a model from scratch profits from 3."""

    focal: float = Field(20.0, ge=0)
    dice: float = Field(3.0, ge=0)
    iou: float = Field(1.0, ge=0)
    presence: float = Field(1.0, ge=0)


class PoolSettings(_Strict):
    """The pool of generated clips that is built once and used by every run with the same settings."""

    clips: int = Field(400, gt=0)
    frames: int = Field(24, gt=0)
    size: int = Field(288, gt=0, description="side of the stored frames in pixels")
    seed: int = Field(0, ge=0)
    folder: Path = Path("runs/pool")


class TrainConfig(_Strict):
    """Every key of a training run."""

    # what to train, and where it goes
    experiment_name: str = "train"
    model: str = Field("nano", description="a name of the model catalog")
    sam2_model_type: str | None = Field(None, description="another spelling of `model`")
    sam2_checkpoint: Path | None = Field(None, description="weights to start from; none: random weights")
    save_dir: Path = Path("runs")
    seed: int = Field(0, ge=0)

    # the machine
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(0, ge=0, description="CPU threads of a process; 0: as torch likes")
    num_workers: int = Field(1, ge=1, description="threads that prepare the next batches")

    # data
    dataset: Literal["synthetic"] = "synthetic"
    dataset_root: Path | None = None
    pool: PoolSettings = PoolSettings()
    batch_size: int = Field(4, gt=0)
    num_frames: int = Field(4, gt=0)
    image_size: int = Field(256, gt=0, multiple_of=32)
    max_stride: int = Field(4, gt=0)
    stages: tuple[Stage, ...] = Field((), description="the curriculum; none: one stage of the keys above")
    max_objects: int = Field(2, gt=0, description="objects drawn from a clip")
    min_object_area: float = Field(0.003, ge=0, lt=1, description="share of the first frame an object must cover")
    still_share: float = Field(0.0, ge=0, le=1, description="share of steps on B·T single frames")
    prompt_shares: PromptShares = PromptShares()
    true_presence: bool = Field(False, description="tell the memory the true presence, as from scratch one must")

    # what learns
    freeze_sam2_backbone: bool = Field(False, description="everything but the UAMP layers stays as it is")
    freeze_sam2_image_encoder: bool = False
    freeze_sam2_mask_decoder: bool = False
    loss: LossWeights = LossWeights()
    optimizer: Literal["adamw"] = "adamw"
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    lr_scheduler: Literal["cosine", "stable", "constant"] = "cosine"
    decay_share: float = Field(0.25, gt=0, le=1, description="share of the steps over which a stable rate falls")
    warmup_steps: int = Field(0, ge=0)
    warmup_epochs: float = Field(0, ge=0, description="used where warmup_steps is 0")
    grad_clip: float = Field(1.0, gt=0)
    gradient_accumulation: int = Field(1, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)

    # how long, and what is said on the way
    num_epochs: int = Field(1, gt=0, description="used where there are no stages")
    max_steps: int = Field(0, ge=0, description="stop here, whatever the schedule; 0: at its end")
    log_interval: int = Field(20, gt=0, description="steps")
    save_interval: int = Field(500, gt=0, description="steps")
    val_interval: int = Field(0, ge=0, description="epochs; 0: never")
    use_wandb: bool = False
    use_tensorboard: bool = False

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
