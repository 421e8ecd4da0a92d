import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from lstmcast.data.time_axis import Clock, Step
from lstmcast.errors import UnwritableError, UsageError
from lstmcast.reports import plots
from lstmcast.reports.figures import horizon

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def figures(evaluation):
    columns = tuple(evaluation.columns)
    rng = np.random.default_rng(0)
    traced = {"layer 0 i": rng.uniform(0, 1, (40, 3)), "layer 0 c": rng.normal(0, 9, (40, 3))}
    return {
        "loss": plots.loss(records(60), "run"),
        "rollout": plots.rollout(evaluation, columns, "run"),
        "horizon": plots.horizon(evaluation, "run"),
        "phase": plots.phase(evaluation, columns, "run"),
        "gates": plots.gates(traced, "run"),
        "forecast": plots.forecast(evaluation.history, evaluation.model.forecast[..., None], columns, "run"),
    }


def records(count, **fields):
    return [{"step": k + 1, "loss": 1 / (k + 1), "learning_rate": 0.1} | fields for k in range(count)]


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(evaluation, tmp_path, kind):
    first, second = (tmp_path / f"{n}.{kind}" for n in range(2))
    for path in (first, second):
        plots.save(plots.horizon(evaluation, "run"), path)
    assert first.read_bytes().startswith(MAGIC[kind])
    assert first.read_bytes() == second.read_bytes()


def test_save_refuses_other_formats_and_places(tmp_path):
    figure = plots.loss(records(3), "run")
    with pytest.raises(UsageError, match=r"x\.bmp"):
        plots.save(figure, tmp_path / "x.bmp")
    with pytest.raises(UsageError, match=r"\.png"):
        plots.save(figure, tmp_path / "x")
    with pytest.raises(UnwritableError, match="nowhere"):
        plots.save(figure, tmp_path / "nowhere" / "x.png")
    assert not list(tmp_path.iterdir())


def test_every_figure_has_its_title_and_named_axes(evaluation):
    for name, figure in figures(evaluation).items():
        assert figure.get_suptitle().startswith("run"), name
        assert figure.axes[-1].get_xlabel() or any(ax.get_xlabel() for ax in figure.axes), name


def test_rollout_shows_truth_forecast_and_history(evaluation):
    figure = plots.rollout(evaluation, ("value",), "run")
    assert len(figure.axes) == len(evaluation.truth)
    for n, ax in enumerate(figure.axes):
        drawn = lines(ax)
        (history,) = (data for label, data in drawn.items() if label == "inputs")
        (truth,) = (data for label, data in drawn.items() if "true" in label)
        (forecast,) = (data for label, data in drawn.items() if label.startswith("network"))
        assert truth[0, 0] == forecast[0, 0] == 1
        assert history[-1, 0] == 0
        np.testing.assert_array_equal(truth[:, 1], evaluation.truth[n, :, 0])
        np.testing.assert_array_equal(forecast[:, 1], evaluation.model.forecast[n, :, 0])
        np.testing.assert_array_equal(history[:, 1], evaluation.history[n, -len(history) :, 0])


def test_horizon_curves_pass_through_the_scores(evaluation):
    figure = plots.horizon(evaluation, "run")
    drawn = lines(figure.axes[0])
    scores = {score.label: score for score in (evaluation.model, *evaluation.baselines.values())}
    assert len(drawn) == len(scores)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_window_extent())
    for label, data in drawn.items():
        for h, error in scores[label].rollout.items():
            if error > 0:
                assert data[h - 1] == pytest.approx((h, error))


def test_no_baseline_is_dropped_and_all_look_different(evaluation):
    score = evaluation.model
    many = replace(evaluation, baselines={str(k): replace(score, label=f"baseline {k}") for k in range(10)})
    page = horizon(score.rollout, dict.fromkeys(many.baselines, score.rollout))
    for figure in (plots.horizon(many, "run"), page):
        drawn = [(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines]
        assert len(set(drawn)) == len(drawn) == 11


def test_scores_of_several_columns_have_their_unit(evaluation):
    two = replace(evaluation, columns={"a": {}, "b": {}})
    assert "standard deviations" in plots.rollout(two, ("a",), "run").get_suptitle()
    assert "standard deviations" not in plots.rollout(evaluation, ("a",), "run").get_suptitle()


def test_loss_shows_every_step_validation_and_rate():
    metrics = records(100)
    metrics[49]["validation"] = 0.5
    above, below, beside = plots.loss(metrics, "run").axes
    np.testing.assert_array_equal(lines(above)["loss of each batch"][:, 1], [record["loss"] for record in metrics])
    assert lines(beside)["validation metric"].tolist() == [[50, 0.5]]
    assert any("median" in label for label in lines(above))
    assert above.get_yscale() == "log"
    assert len(below.get_lines()[0].get_xydata()) == 100


def test_loss_marks_where_rollouts_begin():
    # 60 steps are there of more that were planned
    for step, marks in ((None, 0), (0, 0), (15, 1), (75, 0)):
        axes = plots.loss(records(60), "run", rollouts_from=[step]).axes[:2]
        for ax in axes:
            begun = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "rollouts begin"]
            assert begun == [15.0] * marks


def test_loss_marks_stages_and_the_rollouts_in_them():
    staged = [
        record | ({"stage": stage} if stage else {}) for record in records(60) for stage in [record["step"] // 21]
    ]
    for ax in plots.loss(staged, "run", rollouts_from=[None, 10, 0]).axes[:2]:
        marks = [(line.get_linestyle(), line.get_xdata()[0]) for line in ax.lines if line.get_linestyle() != "-"]
        assert marks == [("--", 20), ("--", 41), (":", 30), (":", 41)]


@pytest.mark.parametrize("metrics", [[], records(1), records(3, loss=0.0)], ids=["none", "one", "zero loss"])
def test_loss_of_hardly_any_steps(metrics, tmp_path):
    plots.save(plots.loss(metrics, "run"), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 2000


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300])
def test_a_forecast_that_left_for_good_does_not_hide_the_truth(diverged, value, tmp_path):
    evaluation = diverged(value)
    drawn = figures(evaluation)
    for name in ("rollout", "horizon", "phase"):
        plots.save(drawn[name], tmp_path / f"{name}.png")
    low, high = drawn["rollout"].axes[0].get_ylim()
    assert -3 < low < -1
    assert 1 < high < 3


def test_many_series_are_cut_to_a_few():
    values = np.zeros((50, 30, 2))
    figure = plots.forecast(values, values[..., None], ("a", "b"), "run")
    assert len(figure.axes) == plots.MAX_SERIES
    assert "series 0" in figure.axes[0].get_ylabel()


def test_long_series_are_thinned():
    values = np.zeros((1, 10 * plots.MAX_POINTS, 1))
    drawn = lines(plots.forecast(values[:, :100], values[..., None], ("a",), "run").axes[0])
    assert len(drawn["network"]) <= 2 * plots.MAX_POINTS
    metrics = records(3 * plots.MAX_POINTS)
    assert len(lines(plots.loss(metrics, "run").axes[0])["loss of each batch"]) <= 2 * plots.MAX_POINTS


def test_a_band_is_shaded():
    values = np.stack([np.zeros((1, 30, 1)), np.full((1, 30, 1), -2.0), np.full((1, 30, 1), 3.0)], axis=-1)
    ax = plots.forecast(np.zeros((1, 30, 1)), values, ("a",), "run", 0.9).axes[0]
    assert "90 % interval" in [text.get_text() for text in ax.get_legend().get_texts()]
    (band,) = ax.collections
    box = band.get_datalim(ax.transData)
    assert (box.ymin, box.ymax) == (-2, 3)


def test_where_times_are_known_the_axis_tells_them(evaluation):
    clock = Clock(29, "2010-01-30", Step(86400, "second"))
    first = evaluation.origins[0]
    for figure, step_zero in (
        (plots.forecast(np.zeros((1, 30, 1)), np.zeros((1, 9, 1, 1)), ("a",), "run", clock=clock), 29),
        (plots.rollout(evaluation, ("a",), "run", clock), first - 1),
    ):
        axis = figure.axes[-1].xaxis
        assert axis.get_label_text() == "time"
        assert [axis.get_major_formatter()(step, 0) for step in (0, 3)] == [
            clock.write(step_zero),
            clock.write(step_zero + 3),
        ]


def test_pyplot_is_not_touched(evaluation):
    before = sys.modules.get("matplotlib.pyplot")
    figures(evaluation)
    assert sys.modules.get("matplotlib.pyplot") is before
