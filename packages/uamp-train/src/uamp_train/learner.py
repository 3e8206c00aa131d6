"""What learns: the network of one stage with its optimizer and running average."""

import logging

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from uamp_model.sam2 import ImageFeatures

from uamp_train.batches import Batch, Place
from uamp_train.checkpoint import TrainingState, optimizer_tensors, restore_optimizer
from uamp_train.config import Stage, TrainConfig
from uamp_train.cpu import fast_arithmetic
from uamp_train.errors import ConfigError
from uamp_train.failures import explained_memory
from uamp_train.feature_store import FeatureStore
from uamp_train.features import FeatureCache
from uamp_train.optimisation import make_optimizer, update_average
from uamp_train.pictures import Picture, paint_clips
from uamp_train.weights import build_module, file_name, load_weights, weights_of

log = logging.getLogger(__name__)

BAD_STEPS_IN_A_ROW = 20
"""So many steps without a finite gradient mean that the run is lost."""


class Learner:
    """The network of one stage with its optimizer and average, built from a state and giving the next one.

    A new stage means a new image size, for which the network is built anew. Going through a state, just as a resumed
    run does, keeps the two from ever differing.

    Attributes:
        bad_steps: how many of the last steps in a row had no finite gradient and were left out.
    """

    def __init__(
        self,
        config: TrainConfig,
        stage: Stage,
        frozen: dict[str, Tensor],
        state: TrainingState,
        accelerator: Accelerator,
    ) -> None:
        self._config, self._stage, self._accelerator = config, stage, accelerator
        self.bad_steps = 0
        self._step_losses: list[tuple[Tensor, Batch]] = []
        module = build_module(config, image_size=stage.image_size, free_frames=stage.free_frames)
        load_weights(module, {**frozen, **state.model})
        self.module = module.to(accelerator.device)
        self._trained = {file_name(name): p for name, p in module.named_parameters() if p.requires_grad}
        self._average = {name: value.clone().to(accelerator.device) for name, value in state.ema.items()}
        self._frozen_digest = state.frozen
        self._cache = self._feature_cache() if config.cache_features else None
        optimizer = make_optimizer(module, config)
        restore_optimizer(optimizer, state.optimizer, self._trained)
        self._prepared: nn.Module = accelerator.prepare_model(module)
        # These share their memory with the module, so they are always the present weights. Taken last, since preparing
        # may give parameters other memory, as from "cpu" to "cpu:0" where there are several processes.
        self._weights = {name: value for name, value in weights_of(module).items() if name in state.model}
        self._optimizer = accelerator.prepare_optimizer(optimizer)

    def learn(self, batch: Batch, place: Place, rate: float) -> dict[str, Tensor]:
        """One forward and backward pass and, with the last batch of a step, one move of the weights.

        Raises:
            DeviceError: if memory runs out.
            ConfigError: if too many steps in a row had no finite gradient.
        """
        torch.manual_seed(int(place.rng(self._config.seed).integers(2**62)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with (
            explained_memory(self._stage, place.step),
            self._accelerator.accumulate(self._prepared),
            fast_arithmetic(
                self._accelerator.device,
                bf16=self._config.precision == "bf16",
                image_size=self._stage.image_size,
            ),
        ):
            losses = self._prepared(batch.to(self._accelerator.device), self._features(batch))
            self._accelerator.backward(losses.total)
            parts: dict[str, Tensor] = dict(losses.parts)
            self._step_losses.append((losses.total.detach(), batch))
            if self._accelerator.sync_gradients:
                parts["grad_norm"] = self._move(place.step)
        return parts

    @property
    def store(self) -> FeatureStore | None:
        """Where batches find features that are known already, if they are cached."""
        return self._cache.store if self._cache else None

    def _feature_cache(self) -> FeatureCache:
        return FeatureCache(
            self.module.model,
            self._config.cache_folder,
            precision=self._config.precision,
            autocast=self._accelerator.autocast,
        )

    def _features(self, batch: Batch) -> ImageFeatures | None:
        return self._cache.complete(batch.images, batch.stored) if self._cache else None

    def show(self, batch: Batch) -> list[Picture]:
        """Pictures of the batch's clips, as the network sees them now, without chance."""
        training = [part for part in self.module.modules() if part.training]
        self.module.eval()
        try:
            with torch.no_grad(), self._accelerator.autocast():
                here = batch.to(self._accelerator.device)
                return paint_clips(batch, self.module.follow(here))
        finally:
            for part in training:
                part.training = True

    def _move(self, step: int) -> Tensor:
        norm: Tensor = self._accelerator.clip_grad_norm_(list(self._trained.values()), self._config.grad_clip)
        if torch.isfinite(norm):  # the same on every process, because gradients are averaged by now
            self.bad_steps = 0
            self._optimizer.step()
            update_average(self._average, self._weights, self._config.ema_decay, step)
        else:
            self._leave_out(step)
        self._optimizer.zero_grad()
        self._step_losses.clear()
        return norm.detach()

    def _leave_out(self, step: int) -> None:
        """Say which step and which clips gave no finite gradient; give up if it happens again and again."""
        self.bad_steps += 1
        bad = [batch for loss, batch in self._step_losses if not torch.isfinite(loss)]
        # With several processes it may be another one's loss; a finite loss can have an infinite gradient too.
        suspects = bad or [batch for _, batch in self._step_losses]
        clips = ", ".join(dict.fromkeys(name for batch in suspects for name in batch.clips))
        what = "loss" if bad else "gradient"
        log.warning("Step %d is left out: its %s is not finite (on %s).", step + 1, what, clips)
        if self.bad_steps == BAD_STEPS_IN_A_ROW:
            raise ConfigError(
                f"The {what} was not finite in {BAD_STEPS_IN_A_ROW} steps in a row, the last being step {step + 1} on "
                f"{clips}: the checkpoint from before them is kept; look at those clips, or train with a lower lr."
            )

    def state(self, step: int, best: float | None = None) -> TrainingState:
        """Copies of everything the next stage, or a resumed run, starts from."""
        names = {id(parameter): name for name, parameter in self._trained.items()}
        moments = optimizer_tensors(self._optimizer.optimizer, names)
        return TrainingState(
            step=step,
            model=_copies(self._weights),
            ema=_copies(self._average),
            optimizer=_copies(moments),
            best=best,
            config=self._config.model_dump_json(),
            frozen=self._frozen_digest,
            processes=self._accelerator.num_processes,
        )


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}
