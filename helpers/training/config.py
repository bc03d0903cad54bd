"""How a network is trained: one configuration."""

from dataclasses import dataclass

from helpers.data import Augmentation
from helpers.utils import UserError


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; `dataclasses.replace` changes single values.

    Attributes:
        epochs: most passes over the training images.
        patience: epochs without a better validation loss before stopping.
        batch_size: images in a step.
        learning_rate: Adam's (Kingma & Ba 2015).
        cosine_decay: let the learning rate fall to 0 along half a cosine (Loshchilov & Hutter
            2017).
        ema_momentum: momentum, 0-1, of an exponential moving average (EMA) of the weights (Polyak &
            Juditsky 1992), which then is validated and kept; 0 keeps the weights themselves.
        warm_up: epochs in which the learning rate rises from 0 before the cosine begins.
        weight_decay: of AdamW (Loshchilov & Hutter 2019); 0 is plain Adam.
        mixup: strength of mixup (Zhang et al. 2018): each batch is blended with itself in another
            order, by a share drawn from Beta(mixup, mixup); 0 blends nothing.
        label_smoothing: share of each target that is spread over all classes (Szegedy et al. 2016).
        class_weights: weigh each class by the inverse of its frequency.
        augmentation: random changes of the training images.
    """

    epochs: int
    patience: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    cosine_decay: bool = False
    ema_momentum: float = 0.0
    warm_up: int = 0
    weight_decay: float = 0.0
    mixup: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    augmentation: Augmentation | None = None

    def __post_init__(self):
        if self.warm_up and not self.cosine_decay:
            raise UserError("warm_up needs cosine_decay: set both")
        if self.warm_up and self.warm_up >= self.epochs:
            raise UserError(
                f"{self.warm_up} epochs of warm_up leave none of {self.epochs}: more epochs"
            )
