"""The networks: each function gives an uncompiled Keras model that takes raw 0-255 grayscale.

All take images of shape (side, side, 1), hold their own rescaling, and end in float32: one
sigmoid unit (probability of pneumonia) for two classes, a softmax over normal, bacteria and virus
for three.
"""

from collections.abc import Sequence

from helpers.settings import native_messages_hidden

with native_messages_hidden():
    import keras
    from keras import layers


def dense(side: int, units: Sequence[int] = (128, 64), classes: int = 2) -> keras.Model:
    """Dense layers only: every pixel is an input of its own, and neighbourhood means nothing."""
    inputs = keras.Input((side, side, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Flatten()(x)
    for count in units:
        x = layers.Dense(count, activation="relu")(x)
    return keras.Model(inputs, head(x, classes), name="dense")


def head(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The output layer, in float32 whatever the precision of the rest."""
    units, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    return layers.Dense(units, activation=activation, dtype="float32", name="probability")(x)
