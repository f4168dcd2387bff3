"""The cohort of a survival run: check outcomes, embed slides without features, group patients into bags and folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from hmgdm_monai.data.files.features_file import usable_features
from hmgdm_monai.data.manifest.columns import check_kinds, read_columns
from hmgdm_monai.data.manifest.manifest import Manifest, base_name, read_manifest
from hmgdm_monai.data.manifest.outcomes import check_outcomes
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.folds import Fold, check_folds, make_folds
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags, group_patients
from hmgdm_monai.transforms.tile_graph import TileGraph

logger = logging.getLogger(__name__)


class SurvivalData:
    """Patients with outcomes and features.

    Features are read from the manifest's column `features`. Slides without features are embedded by the pretrained
    model.

    Args:
        manifest: CSV with `time` and `event` (1 = died, 0 = censored).
        pretrained: model file of the encoder; read only if a slide has no features.
        features_dir: folder for the embeddings of slides; existing embeddings are used again.
        clinical_columns: further columns of the manifest, for the clinical baseline.
        site_column: all patients with the same value in this column are on the same side of a fold (site-preserved
            folds); None for no such column.
        graph: makes the tile graph; None for aggregators that need none.
        check_event_coding: refuse a column whose coding looks inverted.
        strict_manifest: refuse a manifest with any faulty row.
        device: device of the encoder.
        num_workers: number of processes that read tiles for embedding.
    """

    def __init__(
        self,
        manifest: Path | str,
        pretrained: Path | str | None = None,
        features_dir: Path | str = "features",
        clinical_columns: Sequence[str] = (),
        site_column: str | None = None,
        graph: TileGraph | None = None,
        check_event_coding: bool = True,
        strict_manifest: bool = False,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
    ) -> None:
        self.manifest, self.pretrained, self.features_dir = Path(manifest), pretrained, Path(features_dir)
        self.clinical_columns, self.site_column, self.graph = tuple(clinical_columns), site_column, graph
        self.check_event_coding, self.strict_manifest = check_event_coding, strict_manifest
        self.device, self.num_workers = device, num_workers
        self.skipped: dict[str, str] = {}

    @cached_property
    def cohort(self) -> Manifest:
        """The checked manifest; the first use reads it.

        Raises:
            InputError: the manifest, its outcomes or its clinical columns cannot be used, or there is no model to embed
                the slides without features.
        """
        # Check the outcomes of all rows, before any row is skipped because of another fault.
        check_outcomes(self.manifest, self.check_event_coding)
        manifest = read_manifest(self.manifest, ("time", "event"), self.strict_manifest)
        check_kinds(self.manifest, self._columns, self.clinical_columns)
        without = sum(row.features is None for row in manifest.rows)
        if without and (self.pretrained is None or not Path(self.pretrained).exists()):
            raise InputError(
                f"{self.manifest}: {without} rows have no features, and there is no pretrained model at "
                f"{self.pretrained} to embed them with; train one (train.json), or fill in the column `features`"
            )
        return manifest

    @cached_property
    def bags(self) -> PatientBags:
        """The bags of all patients; the first use embeds slides and reads all features once.

        Slides whose features cannot be used, and patients without usable slides, are skipped and named.

        Raises:
            InputError: see :attr:`cohort`; or no slide can be used.
        """
        manifest = self.cohort
        self.skipped = manifest.left_out
        features = {row.id: row.features for row in manifest.rows if row.features is not None}
        need_coords = self.graph is not None and self.graph.spatial_k > 0
        features, faults = usable_features(features | self._embed(manifest), need_coords)
        self.skipped |= faults
        patients = self._patients_with(features)
        kept = {patient.id for patient in patients}
        for name in dict.fromkeys(row.patient for row in manifest.rows):
            if name not in kept:
                self.skipped[f"patient {name}"] = "none of its slides can be used"
        if not patients:
            first = next(iter(self.skipped.items()), ("", ""))
            raise InputError(f"{self.manifest}: no slide can be used; the first skipped: {first[0]}: {first[1]}")
        deaths = sum(patient.event for patient in patients)
        logger.info(
            "%d patients, %d slides; event = 1 is read as died: %d died, %d censored",
            len(patients),
            sum(len(patient.features) for patient in patients),
            deaths,
            len(patients) - deaths,
        )
        for what, reason in self.skipped.items():
            logger.warning("skipped: %s: %s", what, reason)
        return PatientBags(patients, self.graph)

    @property
    def patients(self) -> tuple[Patient, ...]:
        """The patients, in the order of the bags."""
        return self.bags.patients

    def folds(self, n_folds: int, seed: int, use_manifest_folds: bool = True) -> list[Fold]:
        """Return folds over the patients, stratified by event; with a site column, a site is never split.

        What the manifest alone tells is checked before slides are embedded.

        Args:
            n_folds: number of folds.
            seed: seed of the draw.
            use_manifest_folds: use the manifest's column `fold` if it exists.

        Raises:
            InputError: a split of a fold has no events, or a patient has no site.
        """
        if "bags" not in self.__dict__:
            listed = self._patients_with({row.id: row.image for row in self.cohort.rows})
            events, groups, given = self._sides(listed, n_folds, use_manifest_folds)
            check_folds(events, groups, n_folds, given, every_class=False)
        events, groups, given = self._sides(self.patients, n_folds, use_manifest_folds)
        folds = make_folds(events, groups, n_folds, seed, given, every_class=False)
        for fold in folds:
            for name, side in (("test", fold.test), ("training", fold.train)):
                if events[np.asarray(side)].sum() == 0:
                    raise InputError(
                        f"fold {fold.number} has no events among its {len(side)} {name} patients; use fewer folds, "
                        "or correct the manifest's column fold"
                    )
        return folds

    def _patients_with(self, features: Mapping[str, Path]) -> list[Patient]:
        """Return the patients of the rows with a file, sorted: the order of rows must not change folds and batches."""
        rows = sorted(self.cohort.rows, key=lambda row: (row.patient, base_name(row.id), row.id))
        return group_patients(rows, features, self._columns)

    def _sides(
        self, patients: Sequence[Patient], n_folds: int, use_manifest_folds: bool
    ) -> tuple[np.ndarray, list[str], list[int | None] | None]:
        """Return event, group and given fold of each patient, checked."""
        ids = [patient.id for patient in patients]
        groups = ids
        if self.site_column:
            groups = [patient.columns[self.site_column] for patient in patients]
            if "" in groups:
                raise InputError(
                    f"{self.manifest}: patient {ids[groups.index('')]!r} has no {self.site_column}; fill it in"
                )
        given = [patient.fold for patient in patients] if use_manifest_folds else None
        use = given is not None and any(fold is not None for fold in given)
        if use and self.site_column:
            raise InputError(
                f"{self.manifest}: has a column fold, but site_column {self.site_column} also defines folds; "
                "set use_manifest_folds to false, or site_column to null"
            )
        events = np.array([patient.event for patient in patients], np.int64)
        if not use and events.sum() < n_folds:
            raise InputError(
                f"{self.manifest}: {events.sum()} patients died, too few for {n_folds} folds; set n_folds lower"
            )
        return events, groups, given

    @cached_property
    def _columns(self) -> Mapping[int, dict[str, str]]:
        """Cells of the clinical columns and of the site column, by line."""
        extra = [*self.clinical_columns, *([self.site_column] if self.site_column else [])]
        return read_columns(self.manifest, extra) if extra else {}

    def _embed(self, manifest: Manifest) -> dict[str, Path]:
        rows = tuple(row for row in manifest.rows if row.features is None)
        if not rows or self.pretrained is None:
            return {}
        from hmgdm_monai.preparation.recipe import recipe_of
        from hmgdm_monai.saving.encoder_file import load_encoder
        from hmgdm_monai.tasks.inference.embed import CohortEmbedding

        encoder = load_encoder(self.pretrained).to(self.device)
        cohort = Manifest(manifest.path, rows, ())
        embedding = CohortEmbedding(
            encoder, recipe_of(encoder.run_settings), cohort, self.features_dir, num_workers=self.num_workers
        )
        for job in embedding.jobs:
            embedding.embed(job)
        embedded = embedding.result
        self.skipped |= embedded.skipped
        for row in rows:
            if row.id not in embedded.slides and row.id not in self.skipped:
                self.skipped[row.id] = "a plain tile; survival needs slides, or the column `features`"
        return dict(embedded.slides)
