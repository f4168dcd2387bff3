"""Read from OME-XML which pages of a TIFF belong to which image, and its pixel size."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from hmgdm_monai.data.slides.scale import Mpp, plausible_mpp

_NAMES = {
    1e6: "m meter metre",
    1e5: "dm",
    1e4: "cm centimeter centimetre",
    1e3: "mm millimeter millimeter",
    1.0: "um micron micrometer micrometre",
    1e-3: "nm nanometer nanometre",
    1e-4: "Å angstrom",
    25_400.0: "in inch",
    25.4: "thou",
}
_UM = {name: factor for factor, names in _NAMES.items() for name in names.split()}
_FLUORESCENT = {"Fluor", "EmissionWavelength", "ExcitationWavelength", "Fluorescence"}
# Other spellings of the letter mu: XML does not define these entities, and UTF-8 is sometimes decoded as Latin-1.
_MU = {"&micro;": "µ", "&mu;": "µ", "Âµ": "µ", "Î¼": "µ"}


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME-TIFF.

    Attributes:
        planes: indices of the pages of its channels, at the first depth and time; a page may hold several channels.
        mpp: microns per pixel along x and y; None if missing, not plausible, or in an unknown unit.
        channels: names of its channels, "" for a channel without a name.
        fluorescent: whether a channel has a fluorophore or wavelength.
    """

    planes: tuple[int, ...]
    mpp: Mpp
    channels: tuple[str, ...]
    fluorescent: bool


def ome_images(text: str, n_pages: int) -> list[OmeImage]:
    """Find the images in a TIFF's description, in its order; images whose pixels are in other files are skipped.

    The standard library's parser does not resolve external entities; a document that declares any is refused.

    Args:
        text: description of the first page.
        n_pages: number of pages in the file, without SubIFDs.

    Returns:
        The images; empty if the text is not OME-XML.

    Raises:
        ValueError: the XML declares entities or a document type, which OME-XML never does.
    """
    if "<OME" not in text and ":OME" not in text:
        return []
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its OME-XML declares a document type, which OME-XML never does")
    for wrong, right in _MU.items():
        text = text.replace(wrong, right)
    try:
        root = ElementTree.fromstring(text.strip().rstrip("\0"))
    except (ElementTree.ParseError, ValueError):
        return []
    if _name(root) != "OME":
        return []
    return [image for pixels in _all(root, "Pixels") if (image := _image(pixels, root, n_pages)) is not None]


def _image(pixels: ElementTree.Element, root: ElementTree.Element, n_pages: int) -> OmeImage | None:
    channels = list(_all(pixels, "Channel"))
    planes = _planes(pixels, len(channels) or _whole(pixels.get("SizeC"), 1), root.get("UUID"), n_pages)
    if not planes:
        return None
    words = {word for channel in channels for word in (*channel.attrib, channel.get("ContrastMethod"))}
    return OmeImage(
        planes=tuple(planes[number] for number in sorted(planes)),
        mpp=(_mpp(pixels, "X"), _mpp(pixels, "Y")),
        channels=tuple(channel.get("Name", "").strip() for channel in channels),
        fluorescent=bool(words & _FLUORESCENT),
    )


def _planes(pixels: ElementTree.Element, n_channels: int, own: str | None, n_pages: int) -> dict[int, int]:
    """Map each channel to its page, at the first depth and time."""
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    sizes = {"C": n_channels, "Z": _whole(pixels.get("SizeZ"), 1), "T": _whole(pixels.get("SizeT"), 1)}
    blocks = list(_all(pixels, "TiffData"))
    planes: dict[int, int] = {}
    for block in blocks or [ElementTree.Element("TiffData")]:
        elsewhere = [uuid.text for uuid in _all(block, "UUID") if own and (uuid.text or "").strip() != own]
        if elsewhere:
            continue
        first = _whole(block.get("IFD"), 0)
        count = _whole(block.get("PlaneCount"), 1 if block.get("IFD") is not None else n_pages)
        start, stride = 0, 1  # index of the block's first plane, in the order of dimensions
        for axis in order:
            start += stride * _whole(block.get(f"First{axis}"), 0)
            stride *= sizes.get(axis, 1)
        for number in range(min(count, n_pages - first)):
            at, rest = {}, start + number
            for axis in order:
                rest, at[axis] = divmod(rest, sizes.get(axis, 1))
            if rest == 0 and at.get("Z", 0) == 0 and at.get("T", 0) == 0:
                planes.setdefault(at.get("C", 0), first + number)
    return planes


def _mpp(pixels: ElementTree.Element, axis: str) -> float | None:
    unit = unicodedata.normalize("NFKC", pixels.get(f"PhysicalSize{axis}Unit", "um")).strip().replace("μ", "u")
    factor = _UM.get(unit) or _UM.get(unit.lower().rstrip("s") if len(unit) > 2 else "")
    return None if factor is None else plausible_mpp(pixels.get(f"PhysicalSize{axis}"), factor)


def _all(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """All elements of that name below another, for any version of the schema."""
    return (found for found in element.iter() if _name(found) == name)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _whole(text: str | None, default: int) -> int:
    """Parse a whole number >= 0; return the default if there is none."""
    return int(text) if text is not None and text.strip().isdecimal() else default
