"""OME-XML by a parser: units in all spellings, images in any order, and nothing fetched or blown up."""

from __future__ import annotations

import pytest

from hmgdm_monai.data.slides.ome_xml import ome_images

HALF = [
    'PhysicalSizeX="0.5" PhysicalSizeY="0.5"',
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="\u03bcm"',
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="0.5" PhysicalSizeYUnit="&#x3bc;m"',
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="&micro;m" PhysicalSizeY="0.5" PhysicalSizeYUnit="\u00c2\u00b5m"',
    'PhysicalSizeX="5e-7" PhysicalSizeXUnit="m" PhysicalSizeY="5e-4" PhysicalSizeYUnit="mm"',
    'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="500" PhysicalSizeYUnit="Nanometers"',
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="micron" PhysicalSizeY="0.5" PhysicalSizeYUnit="Microns"',
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="micrometre" PhysicalSizeY="5000" PhysicalSizeYUnit="Å"',
    'PhysicalSizeX="0.00005" PhysicalSizeXUnit="cm" PhysicalSizeY="1.968504e-5" PhysicalSizeYUnit="in"',
]


def image(attributes: str = "", data: str = '<TiffData IFD="0"/>', channels: str = "", order: str = "XYCZT") -> str:
    channels = channels or '<Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    return f'<Image ID="I"><Pixels DimensionOrder="{order}" {attributes}>{channels}{data}</Pixels></Image>'


def ome(*images: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>', root: str = "") -> str:
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'{head}<OME xmlns="{space}" {root}>{"".join(images)}</OME>'


@pytest.mark.parametrize("attributes", HALF)
def test_half_a_micron_in_every_spelling(attributes):
    (found,) = ome_images(ome(image(attributes)), 1)
    assert found.mpp == (pytest.approx(0.5, rel=1e-4), pytest.approx(0.5, rel=1e-4))
    assert found.planes == (0,)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "furlong", ""])
def test_an_unknown_unit_is_no_scale(unit):
    (found,) = ome_images(ome(image(f'PhysicalSizeX="0.5" PhysicalSizeXUnit="{unit}"')), 1)
    assert found.mpp[0] is None


def test_each_image_keeps_its_own_size_and_pages():
    macro = image('PhysicalSizeX="10" PhysicalSizeY="10"', '<TiffData IFD="1"/>')
    scan = image('PhysicalSizeX="500" PhysicalSizeXUnit="nm"')
    found = ome_images(ome(macro, scan), 2)
    assert [(one.planes, one.mpp) for one in found] == [((1,), (10.0, 10.0)), ((0,), (0.5, None))]


@pytest.mark.parametrize(
    ("order", "data", "planes"),
    [
        ("XYCZT", '<TiffData IFD="0" PlaneCount="6"/>', (0, 1, 2)),
        ("XYZCT", '<TiffData IFD="0" PlaneCount="6"/>', (0, 2, 4)),
        ("XYCZT", "<TiffData/>", (0, 1, 2)),
        ("XYCZT", "", (0, 1, 2)),
        ("XYCZT", "".join(f'<TiffData IFD="{5 - c}" FirstC="{c}"/>' for c in range(3)), (5, 4, 3)),
        ("XYCZT", "".join(f'<TiffData IFD="{c}" FirstC="{c}" FirstZ="1"/>' for c in range(3)), ()),
        ("XYCZT", '<TiffData IFD="9"/>', ()),
    ],
)
def test_planes_of_the_first_depth_by_channel(order, data, planes):
    channels = '<Channel Name="R"/><Channel Name="G"/><Channel Name="B"/>'
    found = ome_images(ome(image('SizeZ="2" SizeC="3"', data, channels, order)), 6)
    assert [one.planes for one in found] == ([planes] if planes else [])
    assert all(one.channels == ("R", "G", "B") and not one.fluorescent for one in found)


def test_pixels_in_other_files_are_left_out():
    data = '<TiffData IFD="0"><UUID FileName="b.tif">urn:uuid:{}</UUID></TiffData>'
    text = ome(image(data=data.format("2")), image(data=data.format("1")), root='UUID="urn:uuid:1"')
    assert [one.planes for one in ome_images(text, 1)] == [(0,)]


@pytest.mark.parametrize("attribute", ['Fluor="DAPI"', 'EmissionWavelength="461"', 'ContrastMethod="Fluorescence"'])
def test_fluorescence_is_told(attribute):
    assert ome_images(ome(image(channels=f"<Channel {attribute}/>")), 1)[0].fluorescent


def test_what_is_no_ome_xml_has_no_images():
    for text in ("", "Aperio Image|MPP = 0.5", "<OME", "<OME><Pixels></OME>", "<html><OME/></html>", "see </OME>"):
        assert ome_images(text, 1) == []


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE OME [<!ENTITY a "b">]>',
        '<!DOCTYPE OME SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE OME [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_entities_are_refused(head):
    with pytest.raises(ValueError, match="document type"):
        ome_images(ome(image(), head=head), 1)
