"""What every encoder of tiles promises."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_sample import TileToImage, transforms_of
from hmgdm_monai.networks.encoders.vit_tile_encoder import read_out
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

KINDS = {
    "hmgdm": {"readout": ["mean", "edge_mean", "latent_std"]},
    "vertices": {"edge_latents": False},
    "windows": {},
    "vit": {},
}


@pytest.fixture
def build(tiny) -> Callable[[str], TileEncoder]:
    """Function kind -> its encoder."""

    def encoder(kind: str) -> TileEncoder:
        entities = tiny.entities("window_autoencoder") if kind == "windows" else None
        return tiny.encoder("vit" if kind == "vit" else "hmgdm", entities=entities, **KINDS[kind])

    return encoder


@pytest.fixture(params=KINDS)
def encoder(request, build) -> TileEncoder:
    return build(request.param)


@pytest.fixture
def images(stained) -> torch.Tensor:
    picture = stained(128, 64).transpose(2, 0, 1)
    return torch.from_numpy(np.stack([picture[:, :, :64], picture[:, :, 64:]]))


def test_images_give_what_their_samples_give_step_by_step(encoder, images):
    with torch.no_grad():
        whole = encoder(images.float())
        batch = Batch.from_data_list([encoder.to_sample(image.numpy()) for image in images])
        prepared = encoder.prepare(batch)
        states, tile, count = encoder.states(prepared)
        torch.testing.assert_close(encoder.embed(prepared), whole)
    assert whole.shape[0] == count == 2 and states.shape == (len(tile), encoder.state_dim)
    with pytest.raises(ValueError, match="tiles must be images"):
        encoder(images[0].float())


def test_it_comes_back_from_its_file(encoder, images, tmp_path):
    save_encoder(tmp_path / "model.pt", encoder)
    loaded = load_encoder(tmp_path / "model.pt")
    assert type(loaded) is type(encoder) and loaded.run_settings == encoder.run_settings and not loaded.training
    assert loaded.digest() == encoder.digest()
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder(images))


def test_the_digest_is_of_what_an_embedding_depends_on(encoder):
    before = encoder.digest()
    assert encoder.without_pretext().digest() == before
    if isinstance(encoder, GraphTileEncoder):
        with torch.no_grad():
            next(encoder.hmgdm.denoiser.parameters()).add_(1.0)
        assert encoder.digest() == before
        with torch.no_grad():
            next(encoder.entities.parameters()).add_(0.1)
    else:
        encoder.readout = "both"
    changed = encoder.digest()
    assert changed != before
    with torch.no_grad():
        encoder.trainable_parameters()[0].add_(1.0)
    assert encoder.digest() not in (before, changed)


def test_what_is_kept_has_weights_of_its_own(encoder):
    copied, before = encoder.without_pretext(), copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any("denoiser" in name for name in copied.state_dict())


def test_samples_are_made_by_workers_and_know_their_entities(encoder, images):
    to_sample = pickle.loads(pickle.dumps(encoder.to_sample))
    sample = to_sample(images[0].numpy(), keep_label_map=True)
    entities = int(sample.label_map.max()) + 1
    states, *_ = encoder.states(encoder.prepare(Batch.from_data_list([sample])))
    assert sample.label_map.shape == (1, 64, 64) and len(states) == entities


def test_only_what_fine_tuning_may_train_is_trainable(encoder):
    ids = {id(parameter) for parameter in encoder.trainable_parameters()}
    if isinstance(encoder, GraphTileEncoder):
        assert not ids & {id(parameter) for parameter in encoder.entities.parameters()}
        assert ids == {id(parameter) for parameter in encoder.hmgdm.encoder.parameters()}
    else:  # but for the table of positions
        assert len(ids) == len(list(encoder.parameters())) - 1


def test_an_encoder_without_edge_latents_makes_none_and_reads_none(build, images):
    whole, bare = build("hmgdm"), build("vertices")
    batch = Batch.from_data_list([whole.to_sample(image.numpy()) for image in images])
    with torch.no_grad():
        latents, vertices = whole.prepare(batch), bare.prepare(batch)
        assert "edge_latents" in latents and "edge_latents" not in vertices
        torch.testing.assert_close(vertices.vertex_latents, latents.vertex_latents)
        torch.testing.assert_close(bare.embed(latents), bare.embed(vertices))
        with pytest.raises(ValueError, match="the graph has none"):
            whole.embed(vertices)


def test_what_one_has_prepared_is_good_for_another_of_the_same_entities(build, tiny):
    whole, bare, windows, vit = (build(kind) for kind in KINDS)
    for encoder in (whole, bare, windows):
        assert encoder.prepares_as(encoder.without_pretext())
    assert whole.prepares_as(tiny.encoder(hidden_dim=8))  # of other weights and sizes
    pairs = [(whole, bare), (whole, windows), (whole, vit), (vit, whole)]
    assert not any(one.prepares_as(other) for one, other in pairs)
    other = build("hmgdm")
    with torch.no_grad():
        next(other.entities.parameters()).add_(0.1)
    assert not whole.prepares_as(other)


def test_its_settings_name_its_entities_and_build_it_again(build):
    encoder = build("windows")
    kind, settings = encoder.settings["entities"]["kind"], encoder.settings["entities"]["settings"]
    assert kind == "window_autoencoder" and settings["window_px"] == 8
    again = build_tile_encoder(encoder.kind, encoder.settings, encoder.run_settings)
    assert again.settings == encoder.settings
    again.load_state_dict(encoder.state_dict())
    assert again.digest() == encoder.digest()


def test_patches_are_numbered_as_tokens():
    labels = TileToImage(2)(np.zeros((3, 4, 6), np.uint8), keep_label_map=True).label_map[0]
    assert labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    with pytest.raises(ValueError, match="patches of 4 px"):
        TileToImage(4)(np.zeros((3, 6, 6), np.uint8))


def test_readouts(tiny):
    class_token, tokens = torch.randn(2, 4), torch.randn(2, 9, 4)
    assert torch.equal(read_out(class_token, tokens, "cls"), class_token)
    assert torch.equal(read_out(class_token, tokens, "mean"), tokens.mean(1))
    assert torch.equal(read_out(class_token, tokens, "both"), torch.cat((class_token, tokens.mean(1)), 1))
    with pytest.raises(ValueError, match="readout must be"):
        build_tile_encoder("vit", {**tiny.vit, "readout": "max"}, tiny.run)


def test_bad_files_and_settings_are_one_line(tiny, tmp_path):
    with pytest.raises(InputError, match="no encoder of kind 'cnn'; there are hmgdm, vit"):
        build_tile_encoder("cnn", {}, {})
    with pytest.raises(InputError, match="do not describe how its tiles are made"):
        transforms_of({})
    encoder = copy.deepcopy(tiny.encoder("vit"))
    encoder.settings["vit"]["num_layers"] = 3  # settings and weights of two models
    save_encoder(tmp_path / "model.pt", encoder)
    for path, told in (
        (tmp_path / "model.pt", "lacks the weights vit"),
        (tmp_path / "none.pt", "no pretrained"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            load_encoder(path)
        assert "\n" not in str(caught.value)
