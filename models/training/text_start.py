"""Word vectors to start from: the pieces that texts have in common company with, without a network.

Factors of the positive pointwise mutual information of neighbours (Levy and Goldberg 2014). Half a minute of work
gives what a masked language model of this size would learn in ten.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse
from sklearn.utils.extmath import randomized_svd
from text_encoder import TokenRows

REACH: Final = 4
SMOOTHING: Final = 0.75
SPREAD: Final = 0.175
FEWEST_NEIGHBOURS: Final = 5


def word_vectors(rows: TokenRows, texts: list[str], width: int, seed: int) -> np.ndarray:
    """Return float32[vocabulary, width]; rows of pieces too rare to tell are NaN."""
    firsts, seconds, weights = [], [], []
    for ids in rows.ragged(texts):
        for distance in range(1, min(REACH + 1, len(ids))):
            firsts.append(ids[:-distance])
            seconds.append(ids[distance:])
            weights.append(np.full(len(ids) - distance, 1 / distance, np.float32))
    shape = (rows.size, rows.size)
    half = scipy.sparse.coo_matrix(
        (np.concatenate(weights), (np.concatenate(firsts), np.concatenate(seconds))), shape=shape
    ).tocsr()
    together = (half + half.T).tocoo()
    seen = np.asarray(together.sum(1)).ravel()
    context = seen**SMOOTHING / (seen**SMOOTHING).sum()
    information = np.log(together.data / (seen[together.row] * context[together.col]))
    kept = information > 0
    matrix = scipy.sparse.csr_matrix((information[kept], (together.row[kept], together.col[kept])), shape=shape)
    left, strength, _ = randomized_svd(matrix, width, n_iter=3, random_state=seed)
    vectors = left * np.sqrt(strength)
    vectors *= SPREAD / vectors[seen > 50].std()
    vectors[seen <= FEWEST_NEIGHBOURS] = np.nan
    return np.asarray(vectors, np.float32)
