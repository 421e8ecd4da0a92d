"""Scores on text and new sequences drawn from it."""

import numpy as np
import pytest

from lstmcast.data.text import START, Text
from lstmcast.errors import UsageError
from lstmcast.forecasting.tokens import TokenScore, evaluate_tokens, sample
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

LINES = ["abba", "bab", "aab", "baba", "abab", "bbaa", "ab", "aabb", "ba", "bbab"] * 4


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES))
    return Text(kind="text", path=str(path), test_share=0.25).build(0, 0)


@pytest.fixture
def engine(tokens):
    V = tokens.features
    network = Network("lstm", V, (8,), (), V, output="categorical")
    parameters = Parameters(network)
    parameters.initialize(network, np.random.default_rng(0))
    return NumpyEngine(network, parameters)


def test_a_network_that_knows_nothing_is_as_good_as_chance(tokens, engine):
    engine.parameters.values[:] = 0
    evaluation = evaluate_tokens(engine, tokens)
    uniform = evaluation.baselines["uniform"].cross_entropy
    np.testing.assert_allclose([evaluation.model.cross_entropy, uniform], np.log(tokens.features))
    assert evaluation.verdict.startswith("trails")


def test_more_knowledge_is_a_lower_cross_entropy(tokens, engine):
    baselines = evaluate_tokens(engine, tokens).baselines
    assert baselines["bigram"].cross_entropy < baselines["unigram"].cross_entropy < baselines["uniform"].cross_entropy


def test_the_score_is_the_engines_loss_on_the_same_sequences(tokens, engine):
    # one batch of all test sequences, padded and masked, weighs every symbol alike
    from lstmcast.data.batches import SequenceSampler
    from lstmcast.data.categories import one_hot_batch

    settings = {"batch_size": None, "seed": [0], "last_step": False, "warmup": 0, "shuffle": False, "drop_last": False}
    batch = one_hot_batch(SequenceSampler(tokens.test, **settings).next(), tokens.features)
    found = evaluate_tokens(engine, tokens).model.cross_entropy
    np.testing.assert_allclose(found, engine.loss_and_gradient(batch), rtol=1e-12)


def test_many_symbols_are_scored_in_smaller_portions(tokens, engine, monkeypatch):
    sizes, predict = [], engine.predict
    monkeypatch.setattr(engine, "predict", lambda inputs: [sizes.append(inputs.size), predict(inputs)][1])
    whole = evaluate_tokens(engine, tokens).model
    monkeypatch.setattr("lstmcast.forecasting.tokens.MAX_INPUTS", 100)
    in_portions = evaluate_tokens(engine, tokens).model
    assert len(sizes) > 2
    assert max(sizes[1:]) <= 100 < sizes[0]
    assert in_portions.cross_entropy == pytest.approx(whole.cross_entropy)


def test_a_perplexity_beyond_all_numbers_is_none():
    assert TokenScore("lost", 2e4, 0.1).as_json() == {"cross_entropy": 2e4, "perplexity": None, "accuracy": 0.1}


def draw(engine, tokens, **changes):
    settings = {"lines": True, "count": 30, "temperature": 1.0, "seed": 0, "prompt": "", "max_length": 12}
    return list(sample(engine, tokens.vocabulary, **settings | changes))


def test_samples_begin_with_the_prompt_and_end_in_time(tokens, engine):
    drawn = draw(engine, tokens, prompt="ab")
    assert len(drawn) == 30
    assert all(text.startswith("ab") and len(text) <= 14 for text in drawn)
    assert set("".join(drawn)) == set("ab")


def test_the_seed_and_the_temperature_decide(tokens, engine):
    assert draw(engine, tokens) == draw(engine, tokens) != draw(engine, tokens, seed=1)
    assert len(set(draw(engine, tokens, temperature=0.0))) == 1


def test_an_unknown_symbol_is_named(tokens, engine):
    with pytest.raises(UsageError, match="'x'"):
        draw(engine, tokens, prompt="ax")


def test_draws_follow_the_networks_chances(tokens, engine):
    # after the start: the first symbol's frequencies are the softmax of the first output
    logits = engine.predict(np.eye(tokens.features)[[[tokens.vocabulary.index(START)]]])[0, 0]
    chances = np.exp(logits) / np.exp(logits).sum()
    count = 20_000
    drawn = draw(engine, tokens, count=count, max_length=1)
    share = sum(text == "a" for text in drawn) / count
    expected = chances[tokens.vocabulary.index("a")] / (1 - chances[tokens.vocabulary.index(START)])
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / count)
