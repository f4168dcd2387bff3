from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hmgdm_monai.data.demo import make_demo_cohort, plan_patient
from hmgdm_monai.data.demo.artifacts import ARTIFACTS, draw_artifacts
from hmgdm_monai.data.demo.cohort import draw_slide
from hmgdm_monai.data.demo.layout import draw_layout
from hmgdm_monai.errors import InputError

SIDE, MPP = 256, 2.0
SEED, INDEX = 0, 1  # a patient with all three


@pytest.fixture(scope="module")
def drawn():
    """Slide without artifacts, slide with artifacts, artifact map at the slide's scale, and tissue."""
    plan = plan_patient(SEED, INDEX)
    layout = draw_layout(plan, SIDE * MPP)
    clean = draw_slide(plan, layout, SIDE, MPP)
    image, marked = draw_artifacts(clean, plan, layout, MPP)
    return clean, image, marked, layout.classes >= 0


def test_all_kinds_are_drawn_where_the_map_says(drawn):
    clean, image, marked, tissue = drawn
    assert image.shape == clean.shape
    assert set(np.unique(marked)) == {0, 1, 2, 3}
    assert tissue[np.isin(marked, [ARTIFACTS.index("blur"), ARTIFACTS.index("fold")])].all()
    difference = np.abs(image.astype(int) - clean).max(axis=2)
    far = ~ndimage.binary_dilation(marked > 0, iterations=30)  # blur fades out
    assert far.any()
    assert difference[far].max() <= 15  # noise of the camera
    pen, fold, blur = (marked == ARTIFACTS.index(name) for name in ("pen", "fold", "blur"))
    assert difference[pen].min() > 20
    assert (image[fold].mean(axis=1) < clean[fold].mean(axis=1)).mean() > 0.9

    def detail(pixels):
        return np.abs(ndimage.laplace(pixels.mean(axis=2)))

    inner = ndimage.binary_erosion(blur, iterations=6)
    assert detail(image)[inner].mean() < 0.7 * detail(clean)[inner].mean()


def test_a_patients_artifacts_depend_on_the_patient_alone(drawn):
    plan = plan_patient(SEED, INDEX)
    layout = draw_layout(plan, SIDE * MPP)
    again = draw_artifacts(drawn[0], plan, layout, MPP)
    np.testing.assert_array_equal(again[0], drawn[1])
    np.testing.assert_array_equal(again[1], drawn[2])


def test_a_cohort_with_artifacts_has_a_map_for_each_slide_and_is_not_mixed_with_one_without(tmp_path):
    cohort = make_demo_cohort(tmp_path / "a", n_patients=2, slide_px=256, mpp=1.0, artifacts=True)
    maps = sorted((cohort.folder / "artifacts").glob("*.png"))
    assert [path.stem for path in maps] == ["patient_00", "patient_01"]
    assert all(np.asarray(Image.open(path)).shape == (128, 128) for path in maps)
    assert "artifacts/" in (cohort.folder / "README.txt").read_text()
    with pytest.raises(InputError, match="other settings"):
        make_demo_cohort(tmp_path / "a", n_patients=2, slide_px=256, mpp=1.0)
    plain = make_demo_cohort(tmp_path / "b", n_patients=1, slide_px=256, mpp=1.0)
    assert not (plain.folder / "artifacts").exists()
