"""What our results say about each of the sixteen published cells."""

from typing import Any

from common.report.ledger import Measurement
from lu_net.config import Model, Train
from lu_net.protocol import Cells

TITLES = {
    "complexity": "Published comparison: size, epochs and likelihood",
    "timing": "Published comparison: time",
}
# The rows of both tables; each is also the name of a method and of a timed model.
MODELS = ("lu_net", "realnvp")
COMMITTED_EPOCHS = {"lu_net": 80, "realnvp": 60}
Results = dict[tuple[str, str], dict[str, Any]]
# The stages that the measurements come from.
EVALUATE, SPEED = "evaluate", "speed"


def measurements(
    cfg: Cells,
    results: Results,
    trained: dict[tuple[str, str], Train],
    speed: dict[str, Any],
) -> list[Measurement]:
    """Return one measurement per published cell.

    Args:
        cfg: which data set stands for the published one, and what it lacks.
        results: metrics by (dataset, method).
        trained: configuration by (dataset, method).
        speed: what `lu_net.speed` wrote.
    """
    found = []
    for model in MODELS:
        metrics, train = results[cfg.dataset, model], trained[cfg.dataset, model]
        lacks = joined(cfg.scaled_down, train.model.scaled_down)
        found += [
            weight_parameters(model, speed["counts"]),
            gpu_memory(model, speed, cfg.scaled_down),
            epochs(model, metrics, lacks),
            likelihood(model, metrics, results[cfg.dataset, "lu_net_published"], train, lacks),
            *timing(model, speed, cfg.scaled_down),
        ]
    return found


def weight_parameters(model: str, counts: dict[str, int]) -> Measurement:
    """Return the weights of the published architecture, counted as published and free ones."""
    free = counts[f"{model}_free"]
    return Measurement(
        f"complexity/{model}/weight_parameters",
        SPEED,
        measured=counts.get(f"{model}_dense", free) / 1e6,
        measured_standard=free / 1e6,
        note=f"{free:,} free parameters",
    )


def gpu_memory(model: str, speed: dict[str, Any], lacks: str) -> Measurement:
    """Return the memory of a training step."""
    row, place = speed[model], f"complexity/{model}/gpu_memory"
    if "peak_allocated_mib" not in row:
        reason = "no GPU here; lu_net.speed measures it where there is one"
        return Measurement(place, SPEED, not_run=reason)
    return Measurement(
        place,
        SPEED,
        measured=row["device_used_mib"],
        measured_standard=row["peak_allocated_mib"],
        scaled_down=joined(lacks, smaller(row)),
        note=f"{row['peak_reserved_mib']:.0f} MiB reserved by the allocator at batch "
        f"{row['batch']} in float32",
    )


def epochs(model: str, metrics: dict[str, Any], lacks: str) -> Measurement:
    """Return how many epochs were trained."""
    run = float(metrics["training"]["epochs_run"])
    return Measurement(
        f"complexity/{model}/epochs",
        EVALUATE,
        measured=run,
        measured_standard=run,
        scaled_down=lacks,
        note="a setting, not a measurement; the authors' committed configuration says "
        f"{COMMITTED_EPOCHS[model]}",
    )


def likelihood(
    model: str, metrics: dict[str, Any], published: dict[str, Any], train: Train, lacks: str
) -> Measurement:
    """Return the test likelihood of maximum likelihood training.

    Args:
        model: whose row it is.
        metrics: of its training by maximum likelihood.
        published: metrics of LU-Net's training with the published objective.
        train: how it was trained by maximum likelihood.
        lacks: what is less than the published protocol.
    """
    place = f"complexity/{model}/test_nll"
    standard, notes = metrics["test"]["bits_per_dim"], []
    if model == "lu_net":
        notes = [
            f"the published objective, selected on test, {outcome(published)}",
            "on the standard scale the published models rank the other way, RealNVP 1.39 and "
            "LU-Net 3.25",
        ]
    if failure := failed(metrics):
        return Measurement(
            place, EVALUATE, diverged=failure, scaled_down=lacks, note=joined(*notes)
        )
    units = metrics["test"]["lu_net_units" if model == "lu_net" else "realnvp_units"]
    ours = (
        f"ours is {standard['mean']:.3f} standard bits/dim, mean of the "
        f"{len(standard['per_model'])} class models on test images, selected on "
        f"{'validation' if train.select == 'valid' else 'test'} images"
    )
    return Measurement(
        place,
        EVALUATE,
        measured=units["mean"],
        measured_se=None if isinstance(units["se"], str) else units["se"],
        measured_standard=standard["mean"],
        scaled_down=lacks,
        note=joined(ours, *notes),
    )


def failed(metrics: dict[str, Any]) -> str:
    """Say what keeps a training's test likelihood from being a number; nothing if it is one."""
    training = metrics["training"]
    if training["status"] == "diverged":
        return f"the loss left the finite numbers after epoch {training['epochs_run']}"
    if isinstance(metrics["test"]["bits_per_dim"]["mean"], str):
        return "the test likelihood is not finite"
    return ""


def outcome(metrics: dict[str, Any]) -> str:
    """Say what a training of LU-Net prints, or that it failed."""
    if failure := failed(metrics):
        return f"diverged: {failure}"
    units, standard = metrics["test"]["lu_net_units"], metrics["test"]["bits_per_dim"]
    return f"prints {units['mean']:.3f} ({standard['mean']:.3f} standard)"


def timing(model: str, speed: dict[str, Any], lacks: str) -> list[Measurement]:
    """Return the four times; away from a GPU they are shown and not counted."""
    row = speed[model]
    cpu = f"CPU threads: {speed['threads']} ({speed['device']}), no GPU"
    scaled_down = joined(lacks, smaller(row), "" if speed["on_gpu"] else cpu)

    def cell(name: str, measured: float, standard: float, note: str) -> Measurement:
        return Measurement(
            f"timing/{model}/{name}",
            SPEED,
            measured=measured,
            measured_standard=standard,
            scaled_down=scaled_down,
            note=note,
        )

    per_image = row["density_ms_per_image"]
    return [
        cell(
            "train_epoch",
            row["epoch_s"],
            row["step_ms"],
            f"{row['steps_per_epoch']} steps of batch {row['batch']}, computed from the median of "
            f"{row['repeats']} timed steps",
        ),
        cell(
            "optimization_step",
            row["optimiser_ms"],
            row["step_ms"],
            "the optimiser's call alone; like for like, the whole step",
        ),
        cell(
            "density_per_image",
            per_image * row["items"] / row["batch"],
            per_image,
            f"the published number is a pass over {row['items']:,} images divided by the batch "
            f"size; computed from {row['density_items']:,} timed images",
        ),
        cell(
            "sampling_per_image",
            row["sampling_ms_per_image"],
            row["sampling_ms_per_image"],
            f"batches of {row['sample_batch']}",
        ),
    ]


def smaller(row: dict[str, Any]) -> str:
    """Say if a timed RealNVP is smaller than the published one, whose planes are the default."""
    planes = row["planes"]
    return "" if planes in (None, Model.planes) else f"{planes} planes instead of {Model.planes}"


def joined(*parts: str) -> str:
    """Return the parts that say something in one sentence."""
    return "; ".join(part for part in parts if part)
