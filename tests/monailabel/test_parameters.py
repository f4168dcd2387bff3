from __future__ import annotations

import json

import pytest
from lib.parameters import check_background, check_json, check_parameters, read_object

from hmgdm_monai.errors import InputError


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value} if depth % 2 else [value]
    return value


@pytest.mark.parametrize("depth", [3, 4])
def test_json_may_be_nested_up_to_the_limit(depth):
    check_json(nested(depth), "params", depth)
    with pytest.raises(InputError, match=f"params: .* more than {depth - 1} deep"):
        check_json(nested(depth), "params", depth - 1)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "null", "{", "NaN", '{"a": NaN}', '{"a": -Infinity}', "[" * 10**5, '{"a":' * 10**5, "1" * 5000],
)
def test_text_that_is_no_object_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="^params: ") as caught:
        read_object(text, "params", 4)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_objects_are_read():
    assert read_object('{"location": [1, 2], "a": {"b": null}}', "params", 2) == {"location": [1, 2], "a": {"b": None}}


@pytest.mark.parametrize("text", ['{"\\ud800": 1}', '{"a": ["\\udfff"]}', '"\\ud83d"'])
def test_half_characters_are_refused(text):
    with pytest.raises(InputError, match="half a character"):
        check_json(json.loads(text), "info", 9)
    check_json(json.loads('"\\ud83d\\ude00"'), "info", 9)  # a whole one


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": []},
        {"image": None},
        {"strategy": 1},
        {"label_tag": "../final"},
        {"gpus": "0;rm"},
        {"gpus": "0,"},
        {"gpus": 0},
        {"max_workers": 1.5},
        {"max_workers": True},
        {"max_batch_size": -1},
        {"skip": "tile"},
        {"skip": [1]},
    ],
)
def test_parameters_of_the_wrong_type_are_refused(parameters):
    with pytest.raises(InputError, match=next(iter(parameters))):
        check_parameters(parameters, "params")


def test_parameters_of_clients_are_taken():
    check_parameters(
        {"location": [0, 0], "foreground": [], "gpus": "0,1", "skip": ["a"], "label_tag": "final"}, "params"
    )
    check_background({"strength": 1.0, "device": "cuda", "gpus": "all", "images": ["tile"], "max_workers": 1}, "params")
    check_background({"tiny": {"strength": 1.0}}, "params", nested=True)


@pytest.mark.parametrize("name", ["bundle_path", "local_rank", "_id", "PYTHONPATH"])
def test_no_other_parameter_reaches_a_process_of_the_servers_own(name):
    with pytest.raises(InputError, match=f"no parameter '{name}'"):
        check_background({name: "/tmp"}, "params")
    with pytest.raises(InputError, match=f"params of 'tiny': there is no parameter '{name}'"):
        check_background({"tiny": {name: "/tmp"}}, "params", nested=True)
    with pytest.raises(InputError, match="no parameter 'tiny'"):
        check_background({"tiny": {"strength": 1.0}}, "params")


@pytest.mark.parametrize("images", ["some", {"a": 1}, [1], 5])
def test_images_of_a_batch_are_a_choice_or_ids(images):
    with pytest.raises(InputError, match="images must be"):
        check_background({"images": images}, "params")
