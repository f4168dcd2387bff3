"""The cohort of a run of patients: outcomes, features (slides without any are embedded), bags and folds."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from hmgdm_monai.data.files.joined_features import usable_features
from hmgdm_monai.data.manifest.columns import check_kinds, read_columns
from hmgdm_monai.data.manifest.manifest import Manifest, base_name, read_manifest
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.folds import Fold, check_folds, make_folds
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags, group_patients, outcomes_of
from hmgdm_monai.tasks.patients.targets.target import Target, Values
from hmgdm_monai.transforms.tile_graph import TileGraph

logger = logging.getLogger(__name__)
_NO_OUTCOME = "-"  # stratum of patients without an outcome of the first target


class PatientData:
    """Patients with outcomes and features.

    Features are read from the manifest's column `features`. Slides without features are embedded by the pretrained
    model.

    Args:
        manifest: CSV with the columns of the targets.
        targets: what is predicted; a patient needs an outcome of one target at least.
        pretrained: model file of the encoder; read only if a slide has no features.
        features_dir: folder for the embeddings of slides; existing embeddings are used again.
        clinical_columns: further columns of the manifest, for the clinical baseline.
        site_column: all patients with the same value in this column are on the same side of a fold (site-preserved
            folds); None for no such column.
        graph: makes the tile graph; None for aggregators that need none.
        strict_manifest: refuse a manifest with any faulty row.
        device: device of the encoder.
        num_workers: number of processes that read tiles for embedding.

    Attributes:
        skipped: reason by row, slide or patient that is left out of the run; complete when ``bags`` has been read.
        without: reason by patient without an outcome, by name of the target; likewise.
    """

    def __init__(
        self,
        manifest: Path | str,
        targets: Sequence[Target],
        pretrained: Path | str | None = None,
        features_dir: Path | str = "features",
        clinical_columns: Sequence[str] = (),
        site_column: str | None = None,
        graph: TileGraph | None = None,
        strict_manifest: bool = False,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
    ) -> None:
        self.manifest, self.pretrained, self.features_dir = Path(manifest), pretrained, Path(features_dir)
        self.targets = tuple(targets)
        self.clinical_columns, self.site_column, self.graph = tuple(clinical_columns), site_column, graph
        self.strict_manifest, self.device, self.num_workers = strict_manifest, device, num_workers
        self.skipped: dict[str, str] = {}
        self.without: dict[str, dict[str, str]] = {}

    @cached_property
    def cohort(self) -> Manifest:
        """The checked manifest; the first use reads it.

        Raises:
            InputError: the manifest, its outcomes or its clinical columns cannot be used, or there is no model to embed
                the slides without features.
        """
        for target in self.targets:
            target.check(self.manifest)
        first = self.targets[0]
        manifest = read_manifest(
            self.manifest, first.required, self.strict_manifest, first.names, without_image=("features",)
        )
        check_kinds(self.manifest, self._columns, self.clinical_columns)
        without = sum(not row.features for row in manifest.rows)
        if without and (self.pretrained is None or not Path(self.pretrained).exists()):
            raise InputError(
                f"{self.manifest}: {without} rows have no features, and there is no pretrained model at "
                f"{self.pretrained} to embed them with; train one (train.json), or fill in the column `features`"
            )
        return manifest

    @cached_property
    def bags(self) -> PatientBags:
        """The bags of all patients; the first use embeds slides and reads all features once.

        Slides whose features cannot be used, and patients without usable slides or without an outcome, are skipped and
        named.

        Raises:
            InputError: see :attr:`cohort`; or no slide can be used.
        """
        manifest = self.cohort
        self.skipped = dict(manifest.left_out)
        there = {patient for values in self._outcomes.values() for patient in values}
        self.skipped |= {f"patient {name}": why for name, why in self._reasons().items() if name not in there}
        rows = tuple(row for row in manifest.rows if row.patient in there)
        features = {row.id: row.features for row in rows if row.features}
        need_coords = self.graph is not None and self.graph.spatial_k > 0
        features, faults = usable_features(features | self._embed(Manifest(manifest.path, rows, ())), need_coords)
        self.skipped |= faults
        patients = self._patients_with(features)
        kept = {patient.id for patient in patients}
        for row in manifest.rows:
            if row.patient in there and row.patient not in kept:
                self.skipped[f"patient {row.patient}"] = "none of its slides can be used"
        if not patients:
            first = next(iter(self.skipped.items()), ("", ""))
            raise InputError(f"{self.manifest}: no slide can be used; the first skipped: {first[0]}: {first[1]}")
        bags = PatientBags(patients, self.graph)
        slides = sum(len(patient.features) for patient in patients)
        logger.info("%d patients, %d slides", len(patients), slides)
        for target in self.targets:
            values = bags.values(target.name, target.size)
            known = values[np.isfinite(values).all(1)]
            counted = ", ".join(f"{name}: {count}" for name, count in target.count(known).items())
            logger.info("%s (%s): %d patients, %s", target.name, target.convention, len(known), counted)
        for what, reason in self.skipped.items():
            logger.warning("skipped: %s: %s", what, reason)
        return bags

    @property
    def patients(self) -> tuple[Patient, ...]:
        """The patients, in the order of the bags."""
        return self.bags.patients

    def values(self, target: Target) -> np.ndarray:
        """Return the outcomes (P, V) float64 of a target, in the order of the bags; nan for patients without one."""
        return self.bags.values(target.name, target.size)

    def _patients_with(self, features: Mapping[str, tuple[Path, ...]]) -> list[Patient]:
        """Return the patients of the rows with features, sorted: the order of rows must not change folds or batches."""
        there = {patient for values in self._outcomes.values() for patient in values}
        rows = [row for row in self.cohort.rows if row.patient in there]
        rows.sort(key=lambda row: (row.patient, base_name(row.id), row.id))
        return group_patients(rows, features, self._outcomes, self._columns)

    def listed_outcomes(self, target: Target, seen: Collection[str]) -> np.ndarray:
        """Return the outcomes (P, V) of a target that the manifest lists, before slides are embedded.

        Args:
            target: one of the targets.
            seen: patients to leave out.
        """
        outcomes = self._outcomes[target.name]
        return np.array([values for patient, values in outcomes.items() if patient not in seen]).reshape(
            -1, target.size
        )

    def folds(self, n_folds: int, seed: int, use_manifest_folds: bool = True) -> list[Fold]:
        """Return folds over all patients, stratified by the first target; with a site column, a site is never split.

        What the manifest alone tells is checked before slides are embedded.

        Args:
            n_folds: number of folds.
            seed: seed of the draw.
            use_manifest_folds: use the manifest's column `fold` if it exists.

        Raises:
            InputError: a split of a fold cannot be trained or tested on, or a patient has no site.
        """
        if "bags" not in self.__dict__:
            listed = self._patients_with({row.id: row.features for row in self.cohort.rows})
            groups, given = self._groups(listed, n_folds, use_manifest_folds)
            check_folds(self._strata(listed), groups, n_folds, given, every_class=self._every_stratum(listed))
        groups, given = self._groups(self.patients, n_folds, use_manifest_folds)
        every_class = self._every_stratum(self.patients)
        folds = make_folds(self._strata(self.patients), groups, n_folds, seed, given, every_class=every_class)
        for target in self.targets:
            values = self.values(target)
            for fold in folds:
                there = self.fold_of(target, fold)
                for name, side in (("test", there.test), ("training", there.train)):
                    target.check_side(values[np.asarray(side, int)], f"fold {fold.number}, {name} patients")
        return folds

    def fold_of(self, target: Target, fold: Fold) -> Fold:
        """Return a fold without the patients that have no outcome of a target."""
        known = np.isfinite(self.values(target)).all(1)
        train, val, test = (
            side[known[side]] for side in (np.asarray(side, int) for side in (fold.train, fold.val, fold.test))
        )
        return Fold(train, val, test, fold.number)

    def _groups(
        self, patients: Sequence[Patient], n_folds: int, use_manifest_folds: bool
    ) -> tuple[list[str], list[int | None] | None]:
        """Return group and given fold of each patient, checked."""
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
        if not use:
            for target in self.targets:
                values = outcomes_of(patients, target.name, target.size)
                target.check_cohort(self.manifest, values[np.isfinite(values).all(1)], n_folds)
        return groups, given

    def _strata(self, patients: Sequence[Patient]) -> np.ndarray:
        """Return the stratum of each patient by the first target."""
        target = self.targets[0]
        values = outcomes_of(patients, target.name, target.size)
        known = np.isfinite(values).all(1)
        strata = target.strata(values[known])
        if known.all():
            return strata
        found = np.full(len(values), _NO_OUTCOME, dtype=object)
        found[known] = [str(stratum) for stratum in strata]
        return found.astype(str)

    def _every_stratum(self, patients: Sequence[Patient]) -> bool:
        """Whether every training split must contain every stratum."""
        target = self.targets[0]
        values = outcomes_of(patients, target.name, target.size)
        return target.every_class and bool(np.isfinite(values).all())

    @cached_property
    def _outcomes(self) -> dict[str, Values]:
        """Outcomes of the patients by target; the first use reads them, and keeps the reasons of patients without."""
        found: dict[str, Values] = {}
        for target in self.targets:
            found[target.name], self.without[target.name] = target.read(self.manifest, self.cohort.rows)
        if self.strict_manifest and (reasons := self._reasons()):
            patient, reason = next(iter(reasons.items()))
            raise InputError(f"{self.manifest}: patient {patient!r} {reason} ({len(reasons)} such patients)")
        return found

    def _reasons(self) -> dict[str, str]:
        """Return why patients have no outcome, of one target at least, by patient."""
        reasons: dict[str, list[str]] = {}
        for without in self.without.values():
            for patient, reason in without.items():
                reasons.setdefault(patient, []).append(reason)
        return {patient: "; ".join(theirs) for patient, theirs in reasons.items()}

    @cached_property
    def _columns(self) -> Mapping[int, dict[str, str]]:
        """Cells of the clinical columns and of the site column, by line."""
        extra = [*self.clinical_columns, *([self.site_column] if self.site_column else [])]
        return read_columns(self.manifest, extra) if extra else {}

    def _embed(self, manifest: Manifest) -> dict[str, tuple[Path, ...]]:
        rows = tuple(row for row in manifest.rows if not row.features)
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
                self.skipped[row.id] = "a plain tile; patients need slides, or the column `features`"
        return {name: (path,) for name, path in embedded.slides.items()}
