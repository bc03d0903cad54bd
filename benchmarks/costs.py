"""What each published network costs to use: `python -m benchmarks costs`.

Builds the networks as the notebooks do, at the published image sizes and with random weights, which
cost what trained ones cost, and measures multiply-accumulates and images a second in one go, so
that the ratios compare. Writes `results/costs.csv`; run it while nothing else keeps the machine
busy.
"""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from helpers import models, paths, results, training
from helpers.utils import UserError, write_atomically


def mobilenet_with(units: tuple[int, ...]) -> Callable[[int], models.keras.Model]:
    return lambda side: models.with_dense_layers(models.classifier("mobilenet", side, 3), units)


def final(side: int) -> models.keras.Model:
    """The published model from its file, since it holds several networks."""
    path = paths.MODELS / "pneumonia.keras"
    if not path.exists():
        raise UserError(f"no {path}: publish the final model first (`make publish`)")
    return models.keras.models.load_model(path, compile=False)


FOUR_BLOCKS = partial(models.cnn, filters=(16, 32, 64, 128))
NETWORKS = {  # experiment: its network from a side of the images, as in its notebook
    "dense": models.dense,
    "cnn_1": partial(models.cnn, filters=(16, 32)),
    "cnn_2": FOUR_BLOCKS,
    **dict.fromkeys(
        ("cnn_3", "cnn_4", "cnn_4_weighted"), partial(FOUR_BLOCKS, batch_norm=True, dropout=0.3)
    ),
    "relu": partial(models.cnn, filters=(16, 32, 64)),
    "leakyrelu": partial(models.cnn, filters=(16, 32, 64), activation="leaky_relu"),
    "resnet": partial(models.resnet, blocks=1, dropout=0.3),
    **dict.fromkeys(
        ("transfer_frozen", "transfer_last_layers", "transfer_retrained"),
        partial(models.classifier, "mobilenet"),
    ),
    "inception_resnet_v2": partial(models.classifier, "inception_resnet_v2"),
    "three_class_a": models.alternating_cnn,
    "three_class_c": partial(models.classifier, "mobilenet", classes=3),
    "three_class_d": mobilenet_with((256,)),
    "three_class_e": mobilenet_with((256,)),
    **dict.fromkeys(
        ("three_class_b", "three_class_b_mended", "three_class_b_mended_unzoomed"),
        mobilenet_with((512, 256, 128, 64)),
    ),
    "three_class_f": partial(
        models.alternating_cnn, filters=(16, 32, 64, 128, 128, 256), units=(128, 64)
    ),
    results.FINAL: final,
}


def tuned(side: int, parameters: int) -> models.keras.Model:
    """The network that the search of 09 found: the one of its space with so many parameters."""
    for width, depth in itertools.product((8, 16, 24), range(2, 6)):
        filters = [width * 2**block for block in range(depth)]
        network = models.cnn(side, filters, batch_norm=True)
        if network.count_params() == parameters:
            return network
    raise UserError(f"tuned_cnn: no network of the search has {parameters} parameters")


def build(fit: pd.Series) -> models.keras.Model:
    """The network of a row of experiments.csv.

    Raises:
        UserError: it has another number of parameters than the row says.
    """
    side, published = int(fit.image_size), int(fit.parameters)
    if fit.experiment == "tuned_cnn":
        return tuned(side, published)
    network = NETWORKS[fit.experiment](side)
    head = network.layers[-1].count_params()  # what a regression on frozen features counts
    known = (network.count_params(), head)
    if fit.experiment != results.FINAL and published not in known:
        raise UserError(
            f"{fit.experiment} has {published} parameters in experiments.csv and "
            f"{network.count_params()} here: bring NETWORKS up to its notebook"
        )
    return network


def measure_costs(fits: pd.DataFrame, count: int, repeats: int) -> pd.DataFrame:
    """One row an experiment of `fits` (rows of experiments.csv): see `results.costs`."""
    rows = []
    for _, fit in fits.iterrows():
        models.keras.utils.clear_session()
        network = build(fit)
        side = network.input_shape[1]
        images = np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
        rows.append(
            {
                "experiment": fit.experiment,
                "image_size": side,
                "parameters": network.count_params(),
                "mflops": round(models.mflops(network), 2),
                "images_per_second": round(models.images_per_second(network, images, repeats), 1),
                "device": training.device(),
            }
        )
        print(", ".join(f"{value}" for value in rows[-1].values()), flush=True)
    return pd.DataFrame(rows)


def measure(count: int = 640, repeats: int = 3, threads: int = 2) -> None:
    """Write `results/costs.csv` from as many random images, repeats and threads.

    Raises:
        UserError: a network is another one than was published.
    """
    training.set_up(seed=0, threads=threads)
    fits = results.experiments(paths.RESULTS).query("protocol == 'official'")
    fits = fits.drop_duplicates("experiment").sort_values("experiment")
    known = fits.experiment.isin([*NETWORKS, "tuned_cnn"])
    print(f"no network, left out: {', '.join(fits.experiment[~known])}")
    table = measure_costs(fits[known], count, repeats)
    write_atomically(paths.RESULTS / "costs.csv", lambda path: table.to_csv(path, index=False))
