"""The rule behind ``engine: auto``."""

from __future__ import annotations

import pytest

from lstmcast.network.section import ModelSection

FUSED = {"dtype": "float32", "hidden_sizes": [51, 51]}


@pytest.mark.parametrize(
    ("model", "batch_size", "rollout", "engine"),
    [
        (FUSED, 16, False, "torch"),
        (FUSED, 16, True, "numpy"),
        (FUSED, 17, False, "numpy"),
        (FUSED, None, False, "numpy"),
        (FUSED | {"cell": "gru"}, 16, False, "numpy"),
        (FUSED | {"hidden_sizes": [51, 50]}, 16, False, "numpy"),
        (FUSED | {"hidden_sizes": [47]}, 16, False, "numpy"),
        (FUSED | {"dtype": "float64"}, 16, False, "numpy"),
        (FUSED | {"recompute": True}, 16, False, "numpy"),
        ({"cell": "gru", "hidden_sizes": [512]}, None, False, "torch"),
        ({"cell": "gru", "hidden_sizes": [511]}, None, False, "numpy"),
        ({"cell": "rnn", "hidden_sizes": [512]}, None, False, "numpy"),
        ({"hidden_sizes": [512, 512]}, 97, True, "numpy"),
        (FUSED | {"engine": "numpy"}, 16, False, "numpy"),
        (FUSED | {"engine": "torch", "cell": "gru"}, 97, True, "torch"),
        ({"device": "cuda"}, None, False, "torch"),
    ],
)
def test_auto_takes_the_faster_engine_and_a_name_is_kept(model, batch_size, rollout, engine):
    settings = ModelSection(**model)
    assert settings.faster_engine(settings.dtype, batch_size, rollout=rollout) == engine
