"""TED in Hugging Face's ``Trainer``; needs the extra ``transformers``."""

from ted_torch.integrations.transformers.trainer import (
    TEDTrainer,
    TEDTrainerMixin,
    TrainerOptions,
)

__all__ = ["TEDTrainer", "TEDTrainerMixin", "TrainerOptions"]
