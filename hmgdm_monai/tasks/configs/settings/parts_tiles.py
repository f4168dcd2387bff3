"""Arguments of the parts that make tiles and entities."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from hmgdm_monai.tasks.configs.settings.part import Part
from hmgdm_monai.tasks.configs.settings.types import (
    Ascending,
    Choices,
    Count,
    Flag,
    InnerShare,
    Listed,
    NaturalNumber,
    NotNegative,
    OrNone,
    Positive,
    Real,
    Share,
    ShareBelowOne,
    Text,
    Whole,
    setting,
)

BlurSigma = Annotated[tuple[Positive, Positive], Ascending()]
PartOfArea = Annotated[Real, Gt(0), Le(1)]
MaskValues = Listed[Whole | Text]
JpegQuality = Annotated[Whole, Ge(1), Le(95)]


class TileSpec(Part):
    """How tiles are cut from slides."""

    targets = ("hmgdm_monai.data.tiles.tiling.TileSpec",)
    overlap_px: NaturalNumber = setting("Width of the overlap of neighboring tiles, in px.")
    min_tissue: Share = setting("Minimum share of tissue in a tile; 0 keeps all tiles.")


class MaskRule(Part):
    """Which parts of a mask are kept."""

    targets = ("hmgdm_monai.data.tiles.mask.MaskRule",)
    inside: MaskValues = setting("Values to keep.")
    outside: MaskValues = setting(
        "Values to leave out. If both lists are empty, all values but 0, or all regions, are kept."
    )
    min_share: PartOfArea = setting("Minimum share of a tile that must be kept.")


class QualityLimits(Part):
    """Limits of the quality check."""

    targets = ("hmgdm_monai.transforms.quality.QualityLimits",)
    min_focus: OrNone[Positive] = setting("Minimum focus; sharp tissue has 4 and more, tissue out of focus about 2.")
    max_pen: OrNone[Share] = setting("Maximum share of a tile that is covered by ink.")
    max_fold: OrNone[Share] = setting("Maximum share of a tile in folds.")
    max_dark: OrNone[Share] = setting("Maximum share of a tile that is nearly black.")
    max_saturation: OrNone[Share] = setting("Maximum mean saturation of the tissue.")


class Cutter(Part):
    """What cuts a tile into entities."""

    targets = ("hmgdm_monai.transforms.build_cutter.build_cutter",)
    compactness: Positive = setting(
        "Superpixels: weight of spatial distance against color distance; lower values follow color more closely.",
        paper="",
    )
    merge_threshold: OrNone[NotNegative] = setting(
        "Superpixels: merge neighbors whose mean colors differ less than this; `null` merges none.", paper="0.02"
    )
    cell_edges: Annotated[str, Choices("hmgdm_monai.transforms.cell_edges.CELL_EDGES")] = setting(
        "Cells: how they are connected, by Delaunay triangulation or to their nearest neighbors (`knn`)."
    )
    cell_neighbors: Count = setting("Cells: number of neighbors of each cell with `knn`.")
    max_edge_um: OrNone[Positive] = setting("Cells: maximum length of an edge, in um; `null` for no limit.")


class PretrainingCohort(Part):
    """The cohort."""

    targets = ("hmgdm_monai.tasks.pretraining.graph_data.PretrainingData",)
    val_fraction: InnerShare = setting("Share of the patients that are held out for validation; at least one patient.")
    strict_manifest: Flag = setting("Refuse a manifest with a bad row; `false` leaves such rows out and names them.")


class Degrade(Part):
    """Degraded views. Their superpixels are those of the original tile."""

    targets = ("hmgdm_monai.transforms.degrade.RandDegrade",)
    stain_scale: ShareBelowOne = setting("The concentration of each stain is multiplied by 1 - this to 1 + this.")
    blur_probability: Share = setting("Share of the views that are blurred.")
    blur_sigma_px: BlurSigma = setting("Minimum and maximum standard deviation of the Gaussian blur, in px of a tile.")
    jpeg_probability: Share = setting("Share of the views that are compressed.")
    jpeg_quality: Annotated[tuple[JpegQuality, JpegQuality], Ascending()] = setting(
        "Minimum and maximum quality of the compression."
    )


class BackboneEntities(Part):
    """Latents of entities from the frozen backbone."""

    targets = ("hmgdm_monai.entities.backbone_entities.BackboneEntities",)
    view: Annotated[str, Choices("hmgdm_monai.entities.backbone_entities.ENTITY_VIEWS")] = setting(
        "`tile`: the backbone sees the whole tile, and its maps are averaged over superpixels and seams. `window`: it "
        "sees only a window around each entity, so hidden entities are completely hidden; this costs more.",
        paper="`window`",
    )
    window_px: Annotated[Whole, Ge(8)] = setting("Side of these windows, in px of the tile.", paper="32")
    seam_px: Count = setting(
        "Half the width of the band along the border of two superpixels over which their edge is averaged, in px."
    )
    shape_channels: Flag = setting("Append area, shape and stain of each entity to its latent; meant for cells.")


class Prior(Part):
    """Divides a tile into regions."""

    targets = ("hmgdm_monai.transforms.build_prior.build_prior",)
    name: Annotated[str, Choices("hmgdm_monai.transforms.build_prior.PRIORS")] = setting(
        "What the regions are: nuclei, found by hematoxylin; superpixels; or those of the manifest's column `cells`."
    )
    cell_classes: OrNone[Listed[Text]] = setting(
        "Names of cell types for `imported`; with `null`, all cells are one region."
    )
    cell_labels: Any = setting("Meaning of the numbers in imported label maps.")
    max_superpixels: Count = setting(
        "Number of regions for `superpixels`; at least the largest number of superpixels of a tile."
    )


class Views(Part):
    """Makes two views of a tile."""

    targets = ("hmgdm_monai.transforms.paired_views.PairedViews",)
    scale: Annotated[tuple[PartOfArea, PartOfArea], Ascending()] = setting(
        "Minimum and maximum share of a tile's area that a view covers."
    )
    ratio: Annotated[tuple[Positive, Positive], Ascending()] = setting(
        "Minimum and maximum ratio of the sides of that area."
    )
    stain_scale: ShareBelowOne = setting("The concentration of each stain is multiplied by 1 - this to 1 + this.")
    stain_shift: NotNegative = setting("Maximum change added to each stain, in optical density.")
    brightness: ShareBelowOne = setting("Maximum relative change of brightness.")
    contrast: ShareBelowOne = setting("Maximum relative change of contrast.")
    blur_probability: Share = setting("Share of the views that are blurred.")
    blur_sigma_px: BlurSigma = setting("Minimum and maximum standard deviation of the blur, in px of the view.")
