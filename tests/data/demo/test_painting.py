"""Painting of the demo slides: stain optics, texture and nuclei."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from hmgdm_monai.data.demo import nuclei as nuclei_module
from hmgdm_monai.data.demo.cohort import draw_slide
from hmgdm_monai.data.demo.layout import GRID_UM, draw_layout
from hmgdm_monai.data.demo.nuclei import paint_nuclei, place_nuclei
from hmgdm_monai.data.demo.patient import TISSUES, plan_patient
from hmgdm_monai.data.demo.stain import draw_optics, expose
from hmgdm_monai.data.demo.texture import fiber_angles, fiber_coordinates, paint_texture

SIDE_PX, MPP = 512, 1.0


@pytest.fixture(scope="module")
def malignant():
    plan = plan_patient(0, 2)
    return plan, draw_layout(plan, SIDE_PX * MPP)


def test_same_patient_same_pixels_other_seed_other_pixels(malignant):
    plan, layout = malignant
    image = draw_slide(plan, layout, SIDE_PX, MPP)
    again = draw_slide(plan_patient(0, 2), draw_layout(plan_patient(0, 2), SIDE_PX * MPP), SIDE_PX, MPP)
    np.testing.assert_array_equal(image, again)
    other = plan_patient(1, 2)
    assert (draw_slide(other, draw_layout(other, SIDE_PX * MPP), SIDE_PX, MPP) != image).mean() > 0.5


def test_glass_is_bright_and_tissue_is_not(malignant):
    plan, layout = malignant
    image = draw_slide(plan, layout, SIDE_PX, MPP)
    grid = ((np.arange(SIDE_PX) + 0.5) * MPP / GRID_UM).astype(int)
    depth = layout.depth_um[0][np.ix_(grid, grid)]
    assert image[depth < -15].mean() > 230
    assert np.median(image[..., 1][depth > 15]) < 180


def test_expose_follows_beer_and_lambert():
    clean = dataclasses.replace(draw_optics(plan_patient(0, 0)), noise=0.0)
    stains = np.zeros((2, 64, 64), np.float32)
    assert np.abs(expose(stains, clean, MPP) - np.round(clean.light)).max() <= 1
    stains[0], stains[1] = 0.9, 0.4
    density = -np.log(expose(stains, clean, MPP).reshape(-1, 3) / clean.light)
    amounts = density @ np.linalg.pinv(clean.vectors)
    # The section's thickness varies by a few per cent, alike for both stains.
    np.testing.assert_allclose(
        amounts[:, 0] / amounts[:, 1], 0.9 * clean.strength[0] / (0.4 * clean.strength[1]), rtol=0.05
    )
    np.testing.assert_allclose(amounts[:, 0], 0.9 * clean.strength[0], rtol=0.15)


def test_kinds_of_nuclei_differ_as_pathology_has_it(malignant):
    nuclei, kind = place_nuclei(*malignant)
    area = {k: np.pi * nuclei[kind == k, 2] * nuclei[kind == k, 3] for k in np.unique(kind)}
    roundness = {k: np.median(nuclei[kind == k, 3] / nuclei[kind == k, 2]) for k in area}
    tumor, lymphocyte, stroma = nuclei_module._TUMOR, nuclei_module._LYMPHOCYTE, nuclei_module._STROMA
    assert np.median(area[tumor]) > 1.8 * np.median(area[lymphocyte])
    assert np.std(np.log(area[tumor])) > 1.5 * np.std(np.log(area[lymphocyte]))
    assert roundness[lymphocyte] > roundness[tumor] > roundness[stroma]
    assert np.median(nuclei[kind == lymphocyte, 5]) > np.median(nuclei[kind == tumor, 5])


def test_nuclei_crowd_in_tumor_and_lymphocytes_and_keep_off_glass(malignant):
    plan, layout = malignant
    nuclei, _ = place_nuclei(plan, layout)
    rows, columns = (nuclei[:, [1, 0]] / GRID_UM).astype(int).T
    found = layout.classes[rows, columns]
    assert (found >= 0).mean() > 0.99
    density = {t: (found == i).sum() / (layout.classes == i).sum() for i, t in enumerate(TISSUES) if t != "gland"}
    assert density["lymphocytes"] > density["tumor"] > 2 * density["stroma"]


def test_nuclei_darken_hematoxylin_only_where_they_lie(malignant):
    plan, layout = malignant
    before = paint_texture(plan, layout, SIDE_PX, MPP)
    after = before.copy()
    paint_nuclei(after, plan, layout, MPP)
    nuclei, _ = place_nuclei(plan, layout)
    rows, columns = (nuclei[:, [1, 0]] / MPP).astype(int).T
    assert np.median(after[0, rows, columns]) > 2.5 * np.median(before[0, rows, columns])
    assert np.all(after >= 0)
    centers = np.zeros((SIDE_PX, SIDE_PX), dtype=bool)
    centers[rows, columns] = True
    reach = max((1.3 * nuclei[:, 2] + nuclei[:, 12]).max(), 1.5 * nuclei[:, 10].max())
    away = ndimage.distance_transform_edt(~centers) * MPP > reach + 2 * MPP
    assert away.any()
    np.testing.assert_array_equal(after[:, away], before[:, away])


def test_fiber_angle_runs_along_constant_coordinate(malignant):
    _, layout = malignant
    far = np.full_like(layout.depth_um, -200.0)
    x, y = np.array([100.0, 220.0, 333.0]), np.array([90.0, 310.0, 120.0])
    for x0, y0, angle in zip(x, y, fiber_angles(x, y, far, 0.4, 7), strict=True):
        here, ahead = (
            fiber_coordinates(x0 + s * np.cos(angle), y0 + s * np.sin(angle), 0.0, 0.4, 7)[0] for s in (0, 1)
        )
        aside = fiber_coordinates(x0 - np.sin(angle), y0 + np.cos(angle), 0.0, 0.4, 7)[0]
        assert abs(ahead - here) < 0.2 * abs(aside - here)
