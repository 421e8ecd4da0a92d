import numpy as np
import pytest

from lstmcast.errors import InvalidError, UsageError
from lstmcast.reports.comparison import Check, bootstrap, compare, default_metric, letters, sign_flip
from lstmcast.reports.page import sweep_page

FASTER = {"optimizer": {"kind": "adam", "learning_rate": 0.1}}


@pytest.fixture
def two(written):
    """Return two configs over four seeds; the second is worse by 1, 2, 3, 4."""
    first = [written(f"a{seed}", seed, 10.0 + seed) for seed in range(4)]
    second = [written(f"b{seed}", seed, 11.0 + 2 * seed, config=FASTER) for seed in range(4)]
    return [*reversed(first), *second]


def test_groups_by_config_over_seeds(two):
    result = compare(two, "rollout.rmse")
    a, b = result.groups
    assert (a.letter, a.label, a.seeds) == ("A", "optimizer.learning_rate=0.01", (0, 1, 2, 3))
    assert b.values == (11.0, 13.0, 15.0, 17.0)
    assert (a.mean, b.mean) == (11.5, 14.0)
    assert b.std == pytest.approx(np.std([11, 13, 15, 17], ddof=1))
    assert b.interval[0] < 14 < b.interval[1]
    assert result.best is a
    (pairing,) = result.pairings
    assert (pairing.difference, pairing.p) == (2.5, 2 / 16)
    assert pairing.interval[0] > 0
    assert result.as_json() == compare(two, "rollout.rmse").as_json()  # the resampling is seeded


def test_the_best_comes_first_if_asked(two):
    result = compare(two[::-1], "rollout.rmse", ranked=True)
    assert [group.mean for group in result.groups] == [11.5, 14.0]
    assert compare(two[::-1], "rollout.rmse").groups[0].mean == 14.0


def test_runs_without_a_final_score_are_named_and_repeated_ones_count_once(two, written):
    running = written("c", 9, None, status="running")
    again = written("a0-again", 0, 10.0)
    result = compare([*two, running, again], "rollout.rmse")
    assert result.left_out == (running,)
    assert result.repeated == (again,)
    assert [len(group.runs) for group in result.groups] == [4, 4]
    with pytest.raises(InvalidError, match="final"):
        compare([running], "rollout.rmse")


def test_a_forecast_that_left_the_numbers_is_not_dropped(two, written):
    lost = written("b9", 9, None, status="diverged", config=FASTER)
    result = compare([*two, lost], "rollout.rmse")
    assert result.groups[1].mean == np.inf
    assert result.groups[1].as_json()["mean"] is None
    assert result.groups[1].std is None
    assert result.best.letter == "A"
    assert any("1 of 5 diverged" in line for line in result.sentences())
    assert Check.read("B worse than A by 1000 %").failures(result)


def test_a_config_that_diverged_is_never_the_best(two, written):
    lucky = written("b9", 9, 1e-9, status="diverged", config=FASTER)
    result = compare([*two[4:], lucky, *two[:4]], "rollout.rmse@10", ranked=True)
    assert [group.diverged for group in result.groups] == [0, 1]
    assert result.groups[1].as_json()["diverged"] == 1
    assert result.best is result.groups[0]
    assert Check.read("B worse than A by 1000 %").failures(result)
    assert not Check.read("A worse than B").failures(result)
    lost = compare([lucky], "rollout.rmse@10")
    assert lost.best is None
    html = sweep_page("sweep", [lucky, *two], "rollout.rmse@10")
    assert "learning_rate=0.01 with 11.5" in html
    assert html.index("<summary>b3<") < html.index("<summary>b9<")
    assert "None is the best" in sweep_page("sweep", [lucky], "rollout.rmse@10")


def test_larger_skill_is_better(written):
    runs = [
        written("a", 0, 1.0, skill=0.5),
        written("b", 0, 1.0, skill=0.9, config=FASTER),
    ]
    result = compare(runs, "skill")
    assert result.best.letter == "B"
    assert not Check.read("B worse than A").failures(result)
    assert Check.read("A worse than B by 40 %").failures(result)


@pytest.mark.parametrize(("name", "values"), [("phase_error", (-0.1, -0.4)), ("amplitude_ratio", (0.9, 0.2))])
def test_some_scores_are_best_in_the_middle(written, name, values):
    runs = [written("a", 0, 1.0, **{name: values[0]}), written("b", 0, 1.0, config=FASTER, **{name: values[1]})]
    result = compare(runs, name)
    assert result.best.letter == "A"
    assert Check.read("B worse than A by 10 %").failures(result)


def test_different_data_are_pointed_out(written):
    runs = [written("a", 0, 1.0), written("b", 0, 2.0, config={"data": {"scale": 7}})]
    assert any("data.scale" in line for line in compare(runs, "rollout.rmse").sentences())


def test_the_default_metric_is_one_that_all_have(written):
    runs = [written("a", 0, {"10": 1.0, "100": 2.0}), written("b", 1, {"10": 1.0})]
    assert default_metric(runs) == "rollout.rmse@10"
    assert default_metric(runs[:1]) == "rollout.rmse@100"
    assert default_metric(runs, "rollout.rmse@9") == "rollout.rmse@10"  # no run has what the sweep asked for
    assert default_metric(runs, "seed") == "seed"


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (2, 0.5), (5, 2 / 32), (10, 2 / 1024)])
def test_differences_of_one_sign_have_the_least_p(n, p):
    assert sign_flip(np.arange(1.0, n + 1)) == p
    assert sign_flip(-np.arange(1.0, n + 1)) == p


def test_equal_runs_differ_by_chance():
    assert sign_flip(np.zeros(6)) == 1.0


def test_p_is_what_it_says_when_there_is_no_difference():
    random = np.random.default_rng(3)
    p = np.array([sign_flip(random.normal(size=7)) for _ in range(600)])
    for level in (0.0625, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / len(p)))


def test_drawn_signs_agree_with_all_signs():
    differences = np.random.default_rng(0).normal(0.4, 1, size=16)
    drawn = sign_flip(np.append(differences, 1e-12))  # one pair more than is tried in full
    assert drawn == pytest.approx(sign_flip(differences), abs=0.02)


def test_bootstrap_interval_narrows_like_the_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_letters():
    assert [letters(i) for i in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        ("rollout.rmse > 14", 0),
        ("rollout.rmse >= 14", 1),
        ("rollout.rmse@10>11.4", 2),
        ("A: rollout.rmse > 11.4", 1),
        ("rollout.rmse@9 < 2e0", 2),
        ("B worse than A", 1),
        ("B worse than A by 21 %", 1),
        ("B worse than A by 22%", 0),
        ("A worse than B", 0),
    ],
)
def test_checks(two, text, failures):
    assert len(Check.read(text).failures(compare(two, "rollout.rmse"))) == failures


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rollout.rmse",
        "rollout.rmse > x",
        "rollout.rmse > nan",
        "rollout.rmse == 3",
        "__import__('os').system('true')",
        "B worse than A by 5",
        "B better than A",
        "B worse than A by 1.2.3 %",
    ],
)
def test_what_is_no_check_is_refused(text):
    with pytest.raises(UsageError, match="fail-if"):
        Check.read(text)


@pytest.mark.parametrize(
    ("text", "needle"), [("C worse than A", "no group C"), ("rollout.rmsee > 1", "rmsee"), ("status > 3", "no number")]
)
def test_checks_of_what_is_not_there(two, text, needle):
    with pytest.raises(UsageError, match=needle):
        Check.read(text).failures(compare(two, "rollout.rmse"))
