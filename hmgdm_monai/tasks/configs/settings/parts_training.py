"""Arguments of the parts that train, select and evaluate."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from hmgdm_monai.tasks.configs.settings.part import Part
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    Listed,
    NaturalNumber,
    NotNegative,
    OrNone,
    Positive,
    Real,
    Seed,
    Share,
    ShareBelowOne,
    Text,
    Whole,
    setting,
)


class Optimizer(Part):
    """Changes the weights."""

    targets = ("torch.optim.",)
    lr: Positive = setting("Learning rate.")
    betas: tuple[ShareBelowOne, ShareBelowOne] = setting(
        "Decay of the means of gradients and of their squares.", paper=""
    )
    eps: Positive = setting("Added to the denominator of a step.")
    weight_decay: NotNegative = setting("Weight decay.")
    momentum: ShareBelowOne = setting("Momentum.")


class Schedule(Part):
    """Changes the learning rate."""

    targets = ("torch.optim.lr_scheduler.",)
    factor: Annotated[Real, Gt(0), Lt(1)] = setting("What the learning rate is multiplied by.", paper="")
    patience: NaturalNumber = setting(
        "Number of validations without a better loss before that: half of the setting `patience`.", paper="10"
    )
    step_size: Count = setting("Number of epochs between two changes of the learning rate.")
    gamma: Positive = setting("What the learning rate is multiplied by.")
    T_max: Count = setting("Number of epochs until the learning rate is at its minimum.")
    eta_min: NotNegative = setting("Minimum of the learning rate.")
    start_factor: Annotated[Real, Gt(0), Le(1)] = setting("Share of the learning rate at the first step.")
    total_iters: Count = setting("Number of steps until the full learning rate.")


class Iteration(Part):
    """A training step."""

    targets = ("hmgdm_monai.engines.",)
    max_grad_norm: OrNone[Positive] = setting("Gradients are clipped to this norm; `null` for no limit.", paper="")
    windows_per_tile: Count = setting("Number of windows that are drawn from a tile.")
    seed: Seed = setting("Seed of the draws of each step.")


class Engine(Part):
    """The loop over epochs and batches."""

    targets = ("monai.engines.",)
    max_epochs: Count = setting("Number of epochs.")
    epoch_length: OrNone[Count] = setting("Number of steps in an epoch; `null` for all.")
    accumulation_steps: Count = setting("Number of steps whose gradients are added before the weights change.")


class Loader(Part):
    """Loads batches."""

    targets = ("torch_geometric.loader.DataLoader", "torch.utils.data.DataLoader")
    batch_size: Count = setting("Number of samples in a batch.")
    num_workers: NaturalNumber = setting("Number of processes.")


class EarlyStopPart(Part):
    """Ends a training that no longer improves."""

    targets = ("hmgdm_monai.handlers.early_stop.EarlyStop", "hmgdm_monai.handlers.best_epoch.BestEpoch")
    patience: Count = setting("Number of validations without a better score before training ends.")


class CheckpointPart(Part):
    """Saves the state of a training."""

    targets = ("hmgdm_monai.handlers.stage_checkpoint.StageCheckpoint",)
    keep: Annotated[str, Choices("hmgdm_monai.handlers.stage_checkpoint.KEEP")] = setting(
        "Weights that remain at the end: of the epoch with the best loss, or of the last epoch."
    )


class Interval(Part):
    """Handlers that act every few epochs."""

    targets = ("monai.handlers.validation_handler.", "hmgdm_monai.handlers.embedding_monitor.LinearProbeMonitor")
    interval: Count = setting("Number of epochs, or steps, between validations.")
    every: Count = setting("Number of epochs between linear probes.")


class ClipPart(Part):
    """Clips gradients."""

    targets = ("hmgdm_monai.handlers.clip_gradients.ClipGradients",)
    max_norm: Positive = setting("Gradients are clipped to this norm.")


class LinearProbePart(Part):
    """Logistic regression on frozen embeddings."""

    targets = ("hmgdm_monai.tasks.tiles.methods.LinearProbe",)
    strengths: Listed[Positive] = setting("Inverse strengths of regularization to choose from.")


class NearestNeighborsPart(Part):
    """Nearest neighbors of frozen embeddings."""

    targets = ("hmgdm_monai.tasks.tiles.methods.NearestNeighbors",)
    neighbors: Listed[Count] = setting("Numbers of neighbors to choose from.")
    temperature: Positive = setting("Temperature of the neighbors' weights.")


class TileClassifierPart(Part):
    """Encoder with gated attention pooling and a head."""

    targets = ("hmgdm_monai.networks.classifiers.tile_classifier.GatedTileClassifier",)
    hidden: OrNone[Count] = setting("Size of the gate; `null` for half the size of a state.")
    dropout: ShareBelowOne = setting("Share of the values that are set to 0 before the head.")


class CrossEntropyPart(Part):
    """Cross-entropy with the weights of the classes."""

    targets = ("torch.nn.CrossEntropyLoss",)
    label_smoothing: Share = setting("Share of the target that is spread over all classes.")


class TileGraphPart(Part):
    """Graph of the tiles of a slide, for aggregators that need one."""

    targets = ("hmgdm_monai.transforms.tile_graph.TileGraph",)
    spatial_k: NaturalNumber = setting("Number of neighbors by position; 0 for none.")
    feature_k: NaturalNumber = setting("Number of neighbors by features; 0 for none.")
    feature_components: Count = setting("Number of principal components for the search of neighbors.")


class SurvivalLossPart(Part):
    """Loss of survival."""

    targets = ("hmgdm_monai.losses.survival_loss.survival_loss",)
    name: Annotated[str, Choices("hmgdm_monai.losses.survival_loss.LOSSES")] = setting(
        "`cox`: partial likelihood; `discrete`: likelihood of intervals of time."
    )
    ties: Annotated[str, Choices("hmgdm_monai.losses.cox.TIES")] = setting("Cox: how equal times are handled.")
    num_intervals: Annotated[Whole, Ge(2)] = setting("Discrete: number of intervals.")


class ClassLossPart(Part):
    """Loss of classes or grades."""

    targets = ("hmgdm_monai.losses.class_loss.class_loss",)
    name: Annotated[str, Choices("hmgdm_monai.losses.class_loss.LOSSES")] = setting(
        "`cross_entropy`, or `ordinal` for grades."
    )


class NumberLossPart(Part):
    """Loss of numbers, which are standardized by the training side."""

    targets = ("hmgdm_monai.losses.number_loss.number_loss",)
    name: Annotated[str, Choices("hmgdm_monai.losses.number_loss.LOSSES")] = setting("`mse`, or `huber`.")
    delta: Positive = setting("Huber: distance, in standard deviations, from which the loss is linear.")


class SurvivalTargetPart(Part):
    """Time and event of a patient."""

    targets = ("hmgdm_monai.tasks.patients.targets.survival.SurvivalTarget",)
    time_column: Text = setting("Column with the time.")
    event_column: Text = setting("Column with the event (1 = died, 0 = censored).")


class AggregatorPart(Part):
    """Aggregates the tiles of a patient."""

    targets = ("hmgdm_monai.networks.aggregators.",)
    hidden_dim: Count = setting("Size of the states.")
    attention_dim: Count = setting("Size of the attention's gate.")
    num_layers: Count = setting("Number of graph layers.")
    dropout: ShareBelowOne = setting("Share of the values that are set to 0 in training.")


class PatientBaselines(Part):
    """The cross-validation."""

    targets = ("hmgdm_monai.tasks.patients.cross_validation.PatientCrossValidation",)
    pca_components: Count = setting("Maximum number of principal components of the baselines.")
    ridge: NotNegative = setting("Penalty of the baselines.")


class ReportPart(Part):
    """Writes the results of a pretraining."""

    targets = ("hmgdm_monai.tasks.pretraining.graph_report.GraphReport",)
    sampling_steps: Count = setting("Number of denoising steps in the figure; must divide the number of timesteps.")
