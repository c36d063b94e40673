"""What faiss finds by cosine is what the index finds."""

import sys

import numpy as np
import pytest

from gramalign import Index
from tests import samples


@pytest.mark.parametrize("gallery", [["b"], ["b", "c"], None])
def test_faiss_finds_the_same(gallery):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    embeddings, present = samples.embeddings(rng, 40, 8), samples.masks(rng, 40)
    index = Index(embeddings, present)
    query = samples.unit(rng, 5, 8, dtype=np.float32)
    hits = index.search({"z": query}, 9, gallery=gallery)
    scores, numbers = index.to_faiss(gallery).search(query, 9)
    np.testing.assert_array_equal(numbers, hits.numbers)
    np.testing.assert_allclose(scores, hits.scores, atol=1e-6)


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'gramalign\[faiss\]'"):
        Index({"a": np.eye(3)}).to_faiss()
