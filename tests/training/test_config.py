"""The configuration of training: its defaults, and that it cannot change under way."""

import dataclasses

import pytest

from helpers.data import Augmentation
from helpers.training import TrainingConfig
from helpers.utils import UserError


def test_by_default_adam_runs_with_nothing_added():
    config = TrainingConfig(epochs=3, patience=2)
    assert (config.batch_size, config.learning_rate) == (32, 1e-3)
    added = config.cosine_decay, config.ema_momentum, config.label_smoothing, config.class_weights
    assert not any(added) and config.augmentation is None
    assert (config.warm_up, config.weight_decay, config.mixup) == (0, 0, 0)


def test_how_long_to_train_has_to_be_said():
    with pytest.raises(TypeError):
        TrainingConfig()


def test_a_warm_up_is_followed_by_a_cosine():
    with pytest.raises(UserError, match="warm_up needs cosine_decay"):
        TrainingConfig(epochs=3, patience=2, warm_up=1)
    assert TrainingConfig(epochs=3, patience=2, warm_up=2, cosine_decay=True).warm_up == 2
    with pytest.raises(UserError, match="3 epochs of warm_up leave none of 3"):
        TrainingConfig(epochs=3, patience=2, warm_up=3, cosine_decay=True)


def test_a_configuration_does_not_change_but_can_be_replaced():
    config = TrainingConfig(epochs=3, patience=2, augmentation=Augmentation(blur=1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 4
    longer = dataclasses.replace(config, epochs=4)
    assert (longer.epochs, longer.augmentation) == (4, config.augmentation)
    assert longer != config and dataclasses.replace(longer, epochs=3) == config
