"""What every encoder of tiles promises."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.pretrained import build_tile_encoder, load_pretrained, save_pretrained
from hmgdm_monai.networks.tile_encoder import TileEncoder
from hmgdm_monai.networks.tile_sample import TileToImage, superpixels_of
from hmgdm_monai.networks.vit_tile_encoder import ViTTileEncoder, read_out

RUN = {"data": {"stain_method": None, "n_segments": 12, "compactness": 20.0, "merge_threshold": None}}
AUTOENCODER = {"window_px": 16, "widths": [8], "form_channels": 1, "texture_dim": 0, "shortcut": False}
SETTINGS = {
    "hmgdm": {
        "autoencoder": AUTOENCODER,
        "hmgdm": {
            "latent_dim": 16,
            "hidden_dim": 8,
            "num_layers": 1,
            "heads": 2,
            "readout": ["mean", "edge_mean"],
            "agreement": True,
        },
    },
    "vertices": {
        "autoencoder": AUTOENCODER,
        "hmgdm": {"latent_dim": 16, "hidden_dim": 8, "num_layers": 1, "heads": 2, "edge_latents": False},
    },
    "vit": {
        "vit": {"image_px": 32, "patch_px": 16, "hidden_dim": 8, "num_layers": 1, "heads": 2},
        "readout": "both",
    },
}


KINDS = {"hmgdm": "hmgdm", "vertices": "hmgdm", "vit": "vit"}  # of the settings, of the encoder


@pytest.fixture(params=SETTINGS)
def encoder(request) -> TileEncoder:
    return build_tile_encoder(KINDS[request.param], SETTINGS[request.param], RUN).eval()


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
    assert whole.shape[0] == count == 2 and states.shape == (len(tile), encoder.state_dim)
    assert torch.equal(whole, encoder.embed(prepared))
    with pytest.raises(ValueError, match="tiles must be images"):
        encoder(images[0].float())


def test_it_comes_back_from_its_file(encoder, images, tmp_path):
    save_pretrained(tmp_path / "model.pt", encoder)
    loaded = load_pretrained(tmp_path / "model.pt")
    assert type(loaded) is type(encoder) and loaded.run_settings == RUN and not loaded.training
    assert loaded.digest() == encoder.digest()
    with torch.no_grad():
        assert torch.equal(loaded(images), encoder(images))


def test_the_digest_is_of_what_an_embedding_depends_on(encoder):
    before = encoder.digest()
    assert encoder.trunk().digest() == before
    if isinstance(encoder, GraphTileEncoder):
        with torch.no_grad():
            next(encoder.hmgdm.denoiser.parameters()).add_(1.0)
        assert encoder.digest() == before
    else:
        encoder.readout = "mean"
        assert encoder.digest() != before
        encoder.readout = "both"
    with torch.no_grad():
        encoder.trainable_parameters()[0].add_(1.0)
    assert encoder.digest() != before


def test_a_trunk_has_weights_of_its_own(encoder):
    trunk, before = encoder.trunk(), copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any("denoiser" in name for name in trunk.state_dict())


def test_samples_are_made_by_workers_and_know_their_entities(encoder, images):
    to_sample = pickle.loads(pickle.dumps(encoder.to_sample))
    sample = to_sample(images[0].numpy(), keep_label_map=True)
    entities = int(sample.label_map.max()) + 1
    states, *_ = encoder.states(encoder.prepare(Batch.from_data_list([sample])))
    assert sample.label_map.shape == (1, 64, 64) and len(states) == entities


def test_an_encoder_without_edge_latents_wants_no_windows_of_edges_and_reads_none(images):
    encoders = {name: build_tile_encoder("hmgdm", SETTINGS[name], RUN).eval() for name in ("hmgdm", "vertices")}
    whole, bare = (
        Batch.from_data_list([encoder.to_sample(image.numpy()) for image in images]) for encoder in encoders.values()
    )
    assert "edge_windows" in whole and "edge_windows" not in bare
    assert torch.equal(whole.vertex_windows, bare.vertex_windows)
    with torch.no_grad():
        found = [encoders["vertices"].prepare(samples) for samples in (whole, bare)]
        assert not any({"edge_windows", "edge_latents", "vertex_windows"} & set(latents.keys()) for latents in found)
        torch.testing.assert_close(*(encoders["vertices"].embed(latents) for latents in found), rtol=0, atol=0)
        with pytest.raises(ValueError, match="the graph has none"):
            encoders["hmgdm"].embed(encoders["hmgdm"].prepare(bare))
    encoders["vertices"].autoencoder.load_state_dict(encoders["hmgdm"].autoencoder.state_dict())
    assert not encoders["vertices"].prepares_as(encoders["hmgdm"])
    assert all(encoder.prepares_as(encoder.trunk()) for encoder in encoders.values())


def test_patches_are_numbered_as_tokens():
    labels = TileToImage(2)(np.zeros((3, 4, 6), np.uint8), keep_label_map=True).label_map[0]
    assert labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    with pytest.raises(ValueError, match="patches of 4 px"):
        TileToImage(4)(np.zeros((3, 6, 6), np.uint8))


def test_readouts():
    class_token, tokens = torch.randn(2, 4), torch.randn(2, 9, 4)
    assert torch.equal(read_out(class_token, tokens, "cls"), class_token)
    assert torch.equal(read_out(class_token, tokens, "mean"), tokens.mean(1))
    assert torch.equal(read_out(class_token, tokens, "both"), torch.cat((class_token, tokens.mean(1)), 1))
    with pytest.raises(ValueError, match="readout must be"):
        ViTTileEncoder.build({**SETTINGS["vit"], "readout": "max"}, RUN)


def test_bad_files_and_settings_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no encoder of kind 'cnn'; there are hmgdm, vit"):
        build_tile_encoder("cnn", {}, {})
    with pytest.raises(InputError, match="lack n_segments"):
        superpixels_of({"data": {name: 1 for name in RUN["data"] if name != "n_segments"}})
    encoder = build_tile_encoder("vit", SETTINGS["vit"], RUN)
    encoder.settings["vit"]["num_layers"] = 2  # settings and weights of two models
    save_pretrained(tmp_path / "model.pt", encoder)
    for path, told in (
        (tmp_path / "model.pt", "damaged, or a model of another"),
        (tmp_path / "none.pt", "no pretrained"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            load_pretrained(path)
        assert "\n" not in str(caught.value)
