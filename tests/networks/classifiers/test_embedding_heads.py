from __future__ import annotations

import numpy as np
import torch

from hmgdm_monai.networks.classifiers.embedding_heads import NearestNeighborHead


def test_neighbors_vote_as_in_the_loop():
    rng = np.random.default_rng(0)
    examples, labels, weights = rng.normal(size=(20, 4)), rng.integers(0, 3, 20), np.array([0.5, 1.0, 2.0])
    asked = rng.normal(size=(6, 4))
    head = NearestNeighborHead(4, 3, 20, neighbors=5, temperature=0.3)
    head.set(torch.tensor(examples).float(), torch.tensor(labels), torch.tensor(weights).float())
    shares = head(torch.tensor(asked).float()).softmax(1).numpy()

    mean, scale = examples.mean(0), examples.std(0)
    known = (examples - mean) / scale
    for query, found in zip((asked - mean) / scale, shares, strict=True):
        cosine = known @ query / np.linalg.norm(known, axis=1) / np.linalg.norm(query)
        votes = np.zeros(3)
        for near in np.argsort(-cosine)[:5]:
            votes[labels[near]] += weights[labels[near]] * np.exp(cosine[near] / 0.3)
        assert np.allclose(found, votes / votes.sum(), atol=1e-4)


def test_one_neighbor_knows_what_it_has_seen():
    embeddings, labels = torch.randn(12, 6), torch.arange(12) % 4
    head = NearestNeighborHead(6, 4, 12, neighbors=1).set(embeddings, labels, torch.ones(4))
    assert torch.equal(head(embeddings).argmax(1), labels)


def test_more_neighbors_than_examples_are_all_of_them_and_constant_features_give_no_nan():
    head = NearestNeighborHead(3, 2, 4, neighbors=50)
    head.set(torch.full((4, 3), 7.3), torch.tensor([0, 0, 0, 1]), torch.tensor([2 / 3, 2.0]))
    shares = head(torch.full((2, 3), 7.3)).softmax(1)
    assert torch.allclose(shares, torch.full((2, 2), 0.5), atol=1e-5)
