"""How well maps find the tissue that drives a label, in superpixels and in tiles, where the tissue is known.

    python scripts/benchmark.py maps

Slides of the demo cohort carry a grade; what makes the grade is tumor. A logistic regression learns "not benign" from
embeddings of tiles, each of which has the label of its slide, or "tumor" from tiles with a label of their own. The area
under the ROC curve is that of pixels of the map, of slides of patients that were not trained on: pixels of tumor (with
its necrosis) against those of other tissue.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

LEARNED = ("grade of the slide", "tissue of the tile")


def map_aucs(
    folder: Path,
    n_patients: int = 24,
    slide_px: int = 1024,
    mpp: float = 1.0,
    learned: Sequence[str] = LEARNED,
) -> dict[str, dict[str, float]]:
    """Return label -> AUC of maps in "tile", "superpixel" and "superpixel, overlap", over all test pixels.

    Args:
        folder: folder of cohort, embeddings and maps.
        n_patients: number of patients of the demo cohort, at least 12; a quarter of them is tested.
        slide_px: side of a slide in px.
        mpp: microns per px of the slides.
        learned: which of :data:`LEARNED` to measure.
    """
    from sklearn.metrics import roc_auc_score

    from hmgdm_monai.data.demo import make_demo_cohort
    from hmgdm_monai.data.demo.layout import draw_layout
    from hmgdm_monai.data.demo.patient import LABELS, TISSUES, plan_patient
    from hmgdm_monai.data.files.features_file import read_features
    from hmgdm_monai.data.stores.slide_map import opened_slide_map
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.tasks.inference.embed import CohortEmbedding
    from hmgdm_monai.tasks.inference.entity_maps import EntityMaps, MapSettings
    from hmgdm_monai.tasks.inference.entity_values import EntityValues

    cohort = make_demo_cohort(folder / "cohort", n_patients=n_patients, slide_px=slide_px, mpp=mpp)
    encoder = load_encoder()
    embedding = CohortEmbedding(encoder, recipe_of(encoder.run_settings), cohort.slides, folder / "embeddings")
    slides = embedding.run().slides
    plans = {row_id: plan_patient(0, number) for number, row_id in enumerate(slides)}
    tissues = {row_id: draw_layout(plan, slide_px * mpp).classes for row_id, plan in plans.items()}
    tumor = (TISSUES.index("tumor"), TISSUES.index("necrosis"))
    train = [row_id for row_id, plan in plans.items() if plan.fold > 0]
    test = [row_id for row_id, plan in plans.items() if plan.fold == 0]
    features = {row_id: read_features(path) for row_id, path in slides.items()}
    side = int(embedding.recipe.tile_spec.size_px * embedding.recipe.tile_spec.mpp / 2)  # on the layout, 2 um a px

    def of_tiles(row_id: str) -> list[bool]:
        places = (features[row_id].coords * mpp / 2).astype(int)
        parts = [tissues[row_id][y : y + side, x : x + side] for x, y in places.tolist()]
        return [bool(np.isin(part[part >= 0], tumor).mean() > 0.5) for part in parts]

    labels = {
        LEARNED[0]: {i: [plans[i].label != LABELS[0]] * len(features[i].features) for i in train},
        LEARNED[1]: {i: of_tiles(i) for i in train},
    }
    found: dict[str, dict[str, float]] = {}
    for name in learned:
        theirs = labels[name]
        classifier = _logistic_regression(embedding, [features[i].features for i in train], [theirs[i] for i in train])
        axis = np.zeros(features[train[0]].features.shape[1]), np.ones(features[train[0]].features.shape[1])
        values = EntityValues(encoder, axis, classifier)
        found[name] = {}
        for kind, overlap in (("superpixel", 0.0), ("superpixel, overlap", 0.5)):
            maps = EntityMaps(embedding, values, MapSettings(overlap), folder / name / kind)
            painted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
            for row_id in test:
                with opened_slide_map(maps.write(row_id)) as stored:
                    plane = stored.plane("probability_yes")
                of_tile = _tile_plane(features[row_id], classifier, plane.shape, mpp)
                truth = tissues[row_id][1::2, 1::2]
                shown = np.isfinite(plane) & np.isfinite(of_tile) & (truth >= 0)
                painted.append((np.isin(truth[shown], tumor), of_tile[shown], plane[shown]))
            truths, tiles, superpixels = (np.concatenate(parts) for parts in zip(*painted, strict=True))
            found[name].setdefault("tile", float(roc_auc_score(truths, tiles)))
            found[name][kind] = float(roc_auc_score(truths, superpixels))
    return found


def _logistic_regression(embedding, features: Sequence[np.ndarray], labels: Sequence[Sequence[bool]]):
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead
    from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
    from hmgdm_monai.saving.classifier_file import Classifier

    x, y = np.concatenate(features), np.concatenate([np.asarray(one, bool) for one in labels])
    scaler = StandardScaler().fit(x)
    fitted = LogisticRegression(C=0.001, max_iter=1000, class_weight="balanced").fit(scaler.transform(x), y)
    weight = (fitted.coef_ / scaler.scale_)[0]
    bias = float(fitted.intercept_[0] - weight @ scaler.mean_)
    head = LinearHead(x.shape[1], 2)
    head.set(torch.tensor(np.stack([0 * weight, weight])), torch.tensor([0.0, bias]))
    network = TileClassifier(embedding.encoder, head)
    return Classifier(network, ("no", "yes"), "linear", {}, embedding.encoder.run_settings, (), 0)


def _tile_plane(features, classifier, shape: tuple[int, ...], mpp: float) -> np.ndarray:
    """Probabilities of tiles, painted like the map, at 4 um a pixel."""
    import torch

    scores = classifier.network.head(torch.from_numpy(features.features)).softmax(1)[:, 1].numpy()
    plane, side = np.full(shape, np.nan), round(float(features.attrs["tile_size_level0"]) * mpp / 4)
    places = (features.coords * mpp / 4).round().astype(int).tolist()
    for (x, y), score in zip(places, scores, strict=True):
        plane[y : y + side, x : x + side] = score
    return plane


def main() -> None:
    """Measure and print a markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        found = map_aucs(Path(folder))
    kinds = list(next(iter(found.values())))
    print(f"| learned from | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for name, aucs in found.items():
        print(f"| {name} | {' | '.join(f'{aucs[kind]:.3f}' for kind in kinds)} |")


if __name__ == "__main__":
    main()
