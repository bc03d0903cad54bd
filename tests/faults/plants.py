"""Faults to be planted in a copy of the project, each with the tests that have to notice it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from helpers.utils import sha256


class Fault(NamedTuple):
    """What goes wrong, what does it to a copy of the project, and which tests are asked."""

    what: str
    plant: Callable[[Path], object]
    tests: tuple[str, ...]


def patch(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Replaces a text that stands once in a file."""

    def plant(root: Path) -> None:
        text = (root / file).read_text()
        if text.count(old) != 1:
            raise ValueError(f"{file} holds {old!r} {text.count(old)} times; once is wanted")
        (root / file).write_text(text.replace(old, new))

    return plant


def number(file: str, pattern: str) -> Callable[[Path], None]:
    """Raises the last digit of the first number that a pattern captures."""

    def plant(root: Path) -> None:
        text = (root / file).read_text()
        found = re.search(pattern, text)
        if not found:
            raise ValueError(f"{file} has nothing like {pattern!r}")
        old = found[1]
        new = old[:-1] + str((int(old[-1]) + 1) % 10)
        (root / file).write_text(text[: found.start(1)] + new + text[found.end(1) :])

    return plant


def together(*plants: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda root: [plant(root) for plant in plants]


def measured_again(root: Path) -> None:
    """As `make metrics` does, with fewer resamples."""
    code = "from helpers import results; results.remeasure(resamples=50)"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def copied(source: str, target: str) -> Callable[[Path], object]:
    def plant(root: Path) -> None:
        (root / target).write_bytes((root / source).read_bytes())

    return plant


def head_negated(root: Path) -> None:
    """The shipped ONNX file gives each class what speaks against it; its hash is written anew."""
    import onnx

    path, facts = root / "models/pneumonia.onnx", root / "models/pneumonia.json"
    model = onnx.load(path)
    maker = {name: node for node in model.graph.node for name in node.output}
    softmax = maker["probabilities"]
    add = maker[softmax.input[0]]
    weights = {add.input[1], maker[add.input[0]].input[1]}
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name)
            )
    onnx.save(model, path)
    text = facts.read_text()
    old = json.loads(text)["sha256"]["pneumonia.onnx"]
    facts.write_text(text.replace(old, sha256(path)))


SPLITS, FIT, METRICS = (
    "helpers/data/splits.py",
    "helpers/training/fit.py",
    "helpers/evaluation/metrics.py",
)
OF_SPLITS = ("tests/data/test_splits.py::test_no_patient_or_duplicate_is_shared",)
OF_GROUPS = ("tests/data/test_splits.py::test_groups_are_linked_by_patient_or_bytes",)
LEARNS, UNSEEN, BEST_EPOCH, AS_THEY_ARE = (
    (f"tests/training/test_fit.py::{name}",)
    for name in (
        "test_it_learns_what_can_be_learnt",
        "test_test_images_have_no_part_in_training",
        "test_it_stops_early_and_keeps_the_best_epoch",
        "test_what_is_validated_is_neither_augmented_nor_blended",
    )
)
OF_METRICS = ("tests/evaluation/test_metrics.py",)
OF_PREDICTIONS = ("tests/evaluation/test_predictions.py",)
OF_CACHE = (
    "tests/training/test_cache.py::test_the_key_changes_with_every_value_of_the_configuration",
    "tests/training/test_cache.py::test_the_key_changes_with_whatever_else_a_fit_depends_on",
)
OF_FINAL = (
    "tests/selection/test_final.py::test_the_best_candidate_has_the_highest_auc",
    "tests/selection/test_final.py::test_a_choice_gives_up_one_point_of_framing_auc_and_no_more",
    "tests/selection/test_final.py::test_each_fold_is_calibrated_by_the_others_only",
)
OF_FILES = ("tests/test_parameters.py",)
TIES = ("tests/published/test_ties.py::test_published_results_hold_together",)
COSTS = (
    "tests/published/test_ties.py::"
    "test_a_network_has_the_parameters_and_the_cost_that_are_published[cnn_1]",
)
FIGURES = ("tests/published/test_ties.py::test_every_figure_was_drawn_from_the_published_results",)
SHIPPED = ("tests/published/test_ties.py::test_the_shipped_model_takes_ill_phantoms_for_more_ill",)
NUMBERS = ("tests/published/test_numbers.py",)
SOURCES = ("tests/published/test_sources.py",)
METRICS_CSV = ("tests/published/test_generated.py::test_every_metric_follows_from_the_predictions",)
TABLES = ("tests/published/test_generated.py::test_the_pages_show_what_is_generated",)
CARD = ("tests/published/test_generated.py::test_the_model_is_the_one_that_its_card_describes",)
SLIDES = ("tests/published/test_generated.py::test_the_slides_show_the_published_results",)
STORED = "results/predictions/{}/official-s0.csv"

FAULTS = {
    fault.what: fault
    for fault in (
        # Data and training
        Fault(
            "labels are shuffled before training",
            patch(
                FIT,
                "    learnt = targets if soft_labels",
                "    targets = np.random.default_rng(0).permutation(targets)\n"
                "    learnt = targets if soft_labels",
            ),
            LEARNS,
        ),
        Fault(
            "a patient's images fall on both sides of a split",
            patch(
                SPLITS,
                "    groups = patient_or_duplicate(table)\n    if min(",
                "    groups = pd.Series(range(len(table)), table.index)\n    if min(",
            ),
            OF_SPLITS,
        ),
        Fault(
            "copies of one image fall on both sides",
            patch(
                SPLITS, "pd.factorize(table.digest)", "pd.factorize(pd.Series(range(len(table))))"
            ),
            OF_GROUPS,
        ),
        Fault(
            "validation images are augmented",
            patch(
                FIT,
                "validation_data=Batches(inputs, targets, rows=val),",
                "validation_data=Batches(inputs, targets, config, seed, val),",
            ),
            AS_THEY_ARE,
        ),
        Fault(
            "test images are trained on",
            patch(
                FIT,
                "np.flatnonzero(table.split == name)",
                'np.flatnonzero(table.split.replace("test", "train") == name)',
            ),
            UNSEEN,
        ),
        Fault(
            "training stops on test images",
            patch(
                FIT,
                'for name in ("train", "val"))',
                'for name in ("train", "test"))',
            ),
            UNSEEN,
        ),
        Fault(
            "the last epoch is kept, not the best",
            patch(FIT, "restore_best_weights=True", "restore_best_weights=False"),
            BEST_EPOCH,
        ),
        Fault(
            "the order of the classes is swapped",
            patch(
                "helpers/evaluation/predictions.py",
                "p.reshape(-1, len(columns)).clip(0, 1)",
                "p.reshape(-1, len(columns))[:, ::-1].clip(0, 1)",
            ),
            OF_PREDICTIONS,
        ),
        Fault(
            "a finished fit is taken from the cache for other data",
            patch(
                FIT,
                '        "data": cache.data_digest(table, inputs),\n    }\n    if soft_labels',
                "    }\n    if soft_labels",
            ),
            OF_CACHE,
        ),
        Fault(
            "a finished fit is taken from the cache for another configuration",
            patch(FIT, '        "config": cache.chosen(config),\n', ""),
            OF_CACHE,
        ),
        Fault(
            "kept lung boxes are found in other pictures than before, and the cache hides it",
            patch("helpers/lungs/localiser.py", "np.rint(small) if rounded else small", "small"),
            ("tests/lungs/test_localiser.py",),
        ),
        Fault(
            "lung crops are standardised otherwise, and no VERSION says so",
            patch(
                "helpers/lungs/sampling.py", "SPREAD / (spread + 1.0)", "SPREAD / (spread + 2.0)"
            ),
            ("tests/training/test_golden.py",),
        ),
        # Metrics
        Fault(
            "an image at the threshold is not called pneumonia",
            patch(METRICS, "counts(y, p >= cut[1], weights)", "counts(y, p > cut[1], weights)"),
            OF_METRICS,
        ),
        Fault(
            "the threshold of a sensitivity is one image too low",
            patch(METRICS, "ranked[max(needed, 1) - 1]", "ranked[min(needed, len(ranked) - 1)]"),
            OF_METRICS,
        ),
        Fault(
            "the bootstrap draws images, not patients",
            patch(
                METRICS,
                "np.unique(patients[rows], return_inverse=True)",
                "np.unique(np.arange(rows.sum()), return_inverse=True)",
            ),
            OF_METRICS,
        ),
        Fault(
            "calibration error is a mean over bins, not images",
            patch(
                METRICS,
                'return float((gaps * table["n"]).sum() / table["n"].sum())',
                "return float(gaps.mean())",
            ),
            OF_METRICS,
        ),
        Fault(
            "thresholds are set on validation and test together",
            patch(
                METRICS,
                '_validation_rules(binary[binary["split"] == "val"])',
                "_validation_rules(binary)",
            ),
            OF_METRICS,
        ),
        # The choice
        Fault(
            "a fold is calibrated by itself too",
            patch(
                "helpers/selection/final.py",
                "pd.concat(folds[:number] + folds[number + 1 :])",
                "pd.concat(folds)",
            ),
            OF_FINAL,
        ),
        Fault(
            "the guard of the frame is off",
            patch("helpers/selection/final.py", "GUARD = 0.01", "GUARD = 1.0"),
            OF_FINAL,
        ),
        Fault(
            "a candidate is chosen by its worst score",
            patch("helpers/selection/final.py", "may_win.auc.idxmax()", "may_win.auc.idxmin()"),
            OF_FINAL,
        ),
        # Parameters
        *(
            Fault(
                f"a parameter is misspelt in {file}.yaml",
                patch(f"parameters/{file}.yaml", old, new),
                OF_FILES,
            )
            for file, old, new in (
                ("gpu", "  FINE_TUNING_EPOCHS: 20", "  FINETUNING_EPOCHS: 20"),
                ("reference", "  RESAMPLES: 2000", "  RESAMPLE: 2000"),
                ("smoke", "  LOCALISER_FOLDS: 2", "  LOCALISER_FOLD: 2"),
            )
        ),
        Fault(
            "the final model's notebook trains one epoch",
            patch("notebooks/13_final_model.ipynb", '"EPOCHS = 12  #', '"EPOCHS = 1  #'),
            TIES,
        ),
        Fault(
            "a notebook of the series trains one epoch",
            patch("notebooks/04_cnn_iterations.ipynb", '"EPOCHS = 16  #', '"EPOCHS = 1  #'),
            TIES,
        ),
        # Published files
        Fault(
            "another model's predictions stand under `final`, all measured again",
            together(
                copied(STORED.format("final_ensemble"), STORED.format("final")), measured_again
            ),
            TIES,
        ),
        Fault(
            "another model's predictions stand under `resnet`, all measured again",
            together(copied(STORED.format("cnn_4"), STORED.format("resnet")), measured_again),
            TIES,
        ),
        Fault(
            "a threshold is edited in selection.json",
            number("results/selection.json", r"\"balanced\": (0\.\d+)"),
            TIES,
        ),
        Fault(
            "a candidate's score is edited in selection.json",
            number("results/selection.json", r"\"framing_auc\": (0\.\d+)"),
            TIES,
        ),
        Fault(
            "a fact is edited in experiments.csv",
            number("results/experiments.csv", r"final,13_final_model,.*?,(\d+\.\d),AMD"),
            TIES,
        ),
        Fault(
            "a cost is edited in costs.csv",
            number("results/costs.csv", r"cnn_1,\d+,\d+,(\d+\.\d+)"),
            COSTS,
        ),
        Fault(
            "a prediction is edited",
            number(STORED.format("dense"), r",test,\w+,(0\.\d+)"),
            TIES,
        ),
        Fault(
            "a metric is edited",
            number("results/metrics.csv", r"final,official,0,,test,all,,,auc,(0\.\d\d)"),
            METRICS_CSV,
        ),
        Fault(
            "a claim of others is edited",
            patch("results/claims.csv", "75.7 % accuracy,75.7,", "76.7 % accuracy,76.7,"),
            SOURCES,
        ),
        Fault(
            "a figure of others is edited",
            patch("results/published_elsewhere.csv", "96.8,92.8,93.2,90.1", "96.8,92.8,93.2,91.0"),
            SOURCES,
        ),
        Fault(
            "a picture of another notebook stands in place of a figure",
            copied("images/02_baseline_roc.png", "images/06_roc.png"),
            FIGURES,
        ),
        Fault(
            "the shipped model's last layer is negated, its hash written anew",
            head_negated,
            SHIPPED,
        ),
        Fault(
            "the label of a test image is changed in the manifest",
            patch(
                "data/manifest.csv",
                "IM-0001-0001.jpeg,test,normal,",
                "IM-0001-0001.jpeg,test,virus,",
            ),
            TIES,
        ),
        # Pages
        Fault(
            "a number is edited in a table of the README",
            number("README.md", r"\| `cnn_4` \| (\d+\.\d)"),
            TABLES,
        ),
        Fault(
            "a number is edited in the card",
            number("models/README.md", r"`balanced` \| (\d+\.\d)"),
            CARD,
        ),
        Fault(
            "a number is edited in the slides",
            number("presentation/slides.html", r"accuracy <strong>(\d+\.\d)"),
            SLIDES,
        ),
        Fault(
            "a number is edited in the README's prose",
            number("README.md", r"Figures of (97\.7)"),
            NUMBERS,
        ),
        Fault(
            "a number is edited in the final notebook's prose",
            number("notebooks/final_notebook.ipynb", r"around the lungs of (480)"),
            NUMBERS,
        ),
        Fault(
            "a number is edited in the prose of the slides",
            number("presentation/slides.md", r"(740,000)"),
            NUMBERS,
        ),
    )
}
