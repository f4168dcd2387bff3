from __future__ import annotations

import h5py
import pytest

from hmgdm_monai.data.stores.graph_store import GraphStore, GraphTile, write_unit
from hmgdm_monai.data.stores.quality_table import LeftOutTile, QualityTable, format_left_out, read_quality
from hmgdm_monai.errors import InputError


@pytest.fixture
def tile(graph_paths):
    store = GraphStore(graph_paths)
    graph = store[0]
    return GraphTile(graph, "a", (0, 0), 0.5, graph.image[0].numpy().transpose(1, 2, 0))


def test_tables_come_back_as_written(tmp_path, tile):
    left_out = [LeftOutTile("a", (64, 0), "pen", (3.0, 0.5)), LeftOutTile("b", (0, 64), "mask")]
    table = QualityTable(("focus", "pen"))

    def tiles():  # the table is filled while tiles are made
        table.left_out.append(left_out[0])
        table.kept.append((6.0, 0.0))
        yield tile
        table.left_out.append(left_out[1])

    path = write_unit(tmp_path / "q", "a", tiles(), {}, quality=table)
    assert read_quality(path) == QualityTable(("focus", "pen"), [(6.0, 0.0)], left_out)
    assert len(GraphStore([path])) == 1


def test_a_unit_without_scores_has_no_tables(tmp_path, tile):
    plain, empty = (
        write_unit(tmp_path / name, "a", [tile], {}, quality=table)
        for name, table in (("plain", None), ("empty", QualityTable(("focus",))))
    )
    for path in (plain, empty):
        assert read_quality(path) == QualityTable()
        with h5py.File(path) as file:
            assert not any("quality" in name or "left_out" in name for name in file)


def test_left_out_tiles_are_counted_by_reason():
    table = QualityTable(left_out=[LeftOutTile("a", (0, 0), reason) for reason in ("blur", "pen", "pen")])
    assert table.counts() == {"pen": 2, "blur": 1}
    assert format_left_out(table.counts(), 9) == "3 of its 9 tiles are left out: pen 2, blur 1"


def test_a_missing_or_damaged_unit_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such unit"):
        read_quality(tmp_path / "none.h5")
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match="bad.h5"):
        read_quality(tmp_path / "bad.h5")


def test_a_unit_is_read_while_its_store_is_open(tmp_path, tile):
    path = write_unit(tmp_path / "q", "a", [tile], {})
    store = GraphStore([path])
    assert store[0] is not None  # the file is open now
    assert read_quality(path) == QualityTable()
