from __future__ import annotations

import numpy as np
from PIL import Image

from segmi.study.run_outputs import LONGEST_SIDE, evenly_spaced, smaller


def test_images_are_evenly_spaced() -> None:
    assert evenly_spaced(0, 10) == []
    assert evenly_spaced(3, 0) == []
    assert evenly_spaced(1, 9) == [4]
    assert evenly_spaced(9, 4) == [0, 1, 2, 3]
    for total in range(1, 40):
        for count in range(total + 1):
            chosen = evenly_spaced(count, total)
            assert len(set(chosen)) == count
            assert chosen == sorted(chosen)


def test_large_images_are_scaled_and_masks_keep_ids() -> None:
    mask = np.zeros((100, 4 * LONGEST_SIDE), dtype=np.uint8)
    mask[:, ::2] = 255
    result = smaller(mask, Image.Resampling.NEAREST)
    assert result.shape == (25, LONGEST_SIDE)
    assert set(np.unique(result)) <= {0, 255}
    small = np.ones((5, 7, 3), dtype=np.uint8)
    assert smaller(small, Image.Resampling.LANCZOS) is small
