from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest
from lib.limits import Limits, read_limits

from hmgdm_monai.errors import InputError


def test_without_settings_the_defaults_hold():
    assert read_limits({"bundle": "/models/mine", "server_mode": "true"}) == Limits()
    assert Limits().hosts == () and Limits().image_folders == ()


def test_settings_are_read(tmp_path: Path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    conf = {"hosts": "a.example, 192.0.2.7", "image_folders": os.pathsep.join(map(str, folders)), "upload_mb": "0.5"}
    limits = read_limits({**conf, "json_depth": "3"})
    assert limits.hosts == ("a.example", "192.0.2.7") and limits.image_folders == tuple(folders)
    assert (limits.upload_mb, limits.json_depth) == (0.5, 3)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many", ""])
def test_numbers_out_of_range_are_told(text):
    with pytest.raises(InputError, match="--conf work_seconds: must be a number above 0"):
        read_limits({"work_seconds": text})


def test_whole_numbers_are_whole():
    with pytest.raises(InputError, match="--conf json_depth"):
        read_limits({"json_depth": "1.5"})


def test_what_is_misspelled_is_told():
    with pytest.raises(InputError, match="--conf upload_MB: there is no such setting; there are: bundle, .*upload_mb"):
        read_limits({"upload_MB": "1"})


@pytest.mark.parametrize("host", ["https://a.example", "a.example:8000", "a*", "*a.example", "a b", "a/b", "::1"])
def test_hosts_are_names_without_port(host):
    with pytest.raises(InputError, match="--conf hosts: .* is no host"):
        read_limits({"hosts": host})


@pytest.mark.parametrize("host", ["a.example", "*.a.example", "*", "192.0.2.7", "[2001:db8::1]", "my_pc"])
def test_hosts_are_taken(host):
    assert read_limits({"hosts": host}).hosts == (host,)


def test_the_page_names_every_setting_with_its_default():
    page = (Path(__file__).resolve().parents[2] / "docs" / "monailabel.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE))
    assert told == {field.name: f"{field.default:g}" if field.default else "none" for field in fields(Limits)} | {
        "slide_tiles": "100000"
    }


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="image_folders: .*none is no folder"):
        read_limits({"image_folders": str(tmp_path / "none")})
