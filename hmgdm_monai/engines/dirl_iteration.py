"""One training step of DiRL: two views of each tile are compared."""

from __future__ import annotations

from typing import cast

import torch
from monai.engines import SupervisedTrainer
from torch import Tensor

from hmgdm_monai.engines.views_iteration import ViewsIteration
from hmgdm_monai.networks.methods.dirl import DiRL
from hmgdm_monai.transforms.paired_views import View


class DiRLIteration(ViewsIteration):
    """A step of :class:`~hmgdm_monai.networks.methods.dirl.DiRL` with :class:`~hmgdm_monai.losses.dirl.DiRLLoss`."""

    def loss_of_views(self, network: DiRL, views: tuple[View, View], generator: torch.Generator) -> Tensor:
        """Return the loss (scalar) that compares the two views of each tile."""
        self.loss.train(network.training)  # the centers change in training only
        return self.loss(*network(*views)).total

    def after_step(self, engine: SupervisedTrainer) -> None:
        """Update the teacher network."""
        cast(DiRL, engine.network).update_teacher()
