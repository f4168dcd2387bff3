"""CLAM against loops in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.networks.aggregators.build import build_aggregator


def test_each_output_has_attention_of_its_own() -> None:
    torch.manual_seed(0)
    network = build_aggregator("clam", 5, 3, hidden_dim=6, attention_dim=4).double().eval()
    bags = [torch.randn(tiles, 5, dtype=torch.float64) for tiles in (4, 7)]
    batch = Batch.from_data_list([Data(x=x) for x in bags])
    weight = {name: value.detach().numpy() for name, value in network.state_dict().items() if "extra" not in name}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weight[f"{name}.weight"].T + weight[f"{name}.bias"]

    outputs, attention = [], []
    for x in bags:
        states = np.maximum(linear("reduce.0", x.numpy()), 0)
        gated = np.tanh(linear("value.0", states)) / (1 + np.exp(-linear("gate.0", states)))
        shares = np.exp(linear("scores", gated))
        shares /= shares.sum(0)
        heads = [weight["head.weight"][k] @ (shares[:, k] @ states) + weight["head.bias"][k] for k in range(3)]
        outputs.append(heads)
        attention.append(shares)
    np.testing.assert_allclose(network(batch).detach().numpy(), outputs, rtol=1e-10)
    np.testing.assert_allclose(network.output_attention(batch).detach().numpy(), np.concatenate(attention), rtol=1e-10)
    np.testing.assert_allclose(network.attention(batch).detach().numpy(), np.concatenate(attention).mean(1), rtol=1e-10)


def test_with_one_output_it_is_amil() -> None:
    torch.manual_seed(0)
    clam, amil = (build_aggregator(name, 5).eval() for name in ("clam", "amil"))
    names = {"value.0": "pooling.value", "gate.0": "pooling.gate", "scores": "pooling.score"}
    own = {}
    for name, value in clam.state_dict().items():
        part, _, last = name.rpartition(".")
        own[f"{names.get(part, part)}.{last}".lstrip(".")] = value
    amil.load_state_dict(own)
    batch = Batch.from_data_list([Data(x=torch.randn(6, 5)), Data(x=torch.randn(2, 5))])
    torch.testing.assert_close(clam(batch), amil(batch))
    torch.testing.assert_close(clam.attention(batch), amil.attention(batch))
