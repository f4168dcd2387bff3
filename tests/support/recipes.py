"""How tiles are made, as a model file keeps it."""

from __future__ import annotations

from typing import Any

NOISING = {
    "scheduler": {
        "num_train_timesteps": 100,
        "beta_start": 1e-7,
        "beta_end": 0.02,
        "beta_schedule": "sigmoid",
        "prediction_type": "sample",
        "clip_sample": False,
    },
    "noise_intensity": "dynamic",
}


def recipe_settings(
    size_px: int | None = 64,
    mpp: float = 0.5,
    n_segments: int = 12,
    stain: str | None = None,
    cutter: dict[str, Any] | None = None,
    **tile_spec: Any,
) -> dict[str, Any]:
    """``run_settings["recipe"]``.

    Args:
        size_px: side of a tile; None leaves it out, for tiles of any size.
        mpp: microns per pixel.
        n_segments: of superpixels.
        stain: method of stain normalization; None for none.
        cutter: config of another cutter than superpixels.
        tile_spec: more arguments of ``TileSpec``.
    """
    package = "hmgdm_monai.transforms"
    cutter = cutter or {"_target_": f"{package}.superpixels.Superpixels", "n_segments": n_segments}
    normalize = {"_target_": f"{package}.stain.NormalizeStaind", "keys": "image", "method": stain}
    steps = [] if stain is None else [normalize]
    steps.append({"_target_": f"{package}.cut_entities.CutEntitiesd", "keys": "image", "cutter": cutter})
    steps.append({"_target_": f"{package}.entity_graph.BuildEntityGraphd", "keys": "image"})
    size = {} if size_px is None else {"size_px": size_px}
    return {
        "tile_spec": {**size, "mpp": mpp, **tile_spec},
        "transforms": {"_target_": "Compose", "transforms": steps},
        "max_tiles": None,
        "seed": 0,
    }
