"""Predictions for the patients of embedded slides, whose outcomes are not known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.saving.patient_file import load_patient_models
from hmgdm_monai.tasks.inference.embed import CohortEmbedding
from hmgdm_monai.tasks.patients.bags import PatientBags, group_patients
from hmgdm_monai.tasks.patients.ensemble import predict_by_ensemble, training_patients
from hmgdm_monai.tasks.patients.evaluation import tile_graph_of
from hmgdm_monai.tasks.patients.targets.build import target_of

logger = logging.getLogger(__name__)
FILE = "patient_predictions.csv"


class NewPatients:
    """Write ``patient_predictions.csv``: a row per model and patient, with the prediction.

    Several models, the folds of a run, are an ensemble: the file then also holds the standard deviation between them.
    The column ``in_training`` says whether a model was trained on the patient: such a prediction is no evidence.

    Args:
        embedding: embedding whose jobs are completed.
        output_dir: output folder of the run.
        patient_model: a ``fold_*.pt``, several, or the folder of all folds.
        device: device of the networks.
    """

    def __init__(
        self,
        embedding: CohortEmbedding,
        output_dir: Path | str,
        patient_model: Path | str | Sequence[Path | str],
        device: torch.device | str = "cpu",
    ) -> None:
        self.embedding, self.output_dir, self.device = embedding, Path(output_dir), device
        self.models = load_patient_models(patient_model)

    def write(self) -> None:
        """Predict, and write the file.

        Raises:
            InputError: the embeddings are of another encoder than the models', or the disk is full.
        """
        result = self.embedding.result
        files = {row_id: (path,) for row_id, path in result.slides.items()}
        patients = group_patients([result.rows[row_id] for row_id in files], files, {})
        if not patients:
            return
        target, seen = target_of(self.models[0].target), training_patients(self.models)
        bags = PatientBags(patients, tile_graph_of(self.models))
        found = predict_by_ensemble(self.models, target, bags, np.arange(len(bags)), self.device)
        rows: list[list[Any]] = [["model", "patient", "in_training", *target.prediction_columns]]
        if len(self.models) > 1:
            rows[0] += target.spread_columns
        for name, prediction in found.items():
            for place, cells in enumerate(target.prediction_cells(prediction)):
                spread = () if prediction.spread is None else (f"{x:.6g}" for x in prediction.spread[place])
                patient = patients[place].id
                rows.append([name, patient, "yes" if patient in seen else "no", *cells, *spread])
        path = write_whole(self.output_dir / FILE, csv_text(rows).encode())
        logger.info("%-11s %s", "patients:", path)
