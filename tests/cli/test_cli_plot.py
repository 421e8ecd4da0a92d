import shutil

import pytest

KINDS = ["loss", "rollout", "horizon", "phase", "gates"]
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture
def copied(tmp_path, sines, two):
    """Return copies of two runs to draw into, without their pictures."""
    return [
        shutil.copytree(run.path, tmp_path / "outputs" / run.path.name, ignore=shutil.ignore_patterns("*.png"))
        for run in (sines, two)
    ]


@pytest.mark.parametrize(("kind", "suffix"), [*((kind, "png") for kind in KINDS), ("phase", "svg"), ("loss", "pdf")])
def test_pictures(cli, copied, kind, suffix):
    before = set(copied[1].iterdir())
    outcome = cli("plot", copied[1], "--kind", kind, "--format", suffix).done()
    picture = copied[1] / f"{kind}.{suffix}"
    assert outcome.out == f"{picture}\n"
    assert outcome.err == ""
    assert picture.read_bytes().startswith(MAGIC[suffix])
    assert picture.stat().st_size > 2000
    assert set(copied[1].iterdir()) == before | {picture}


def test_networks_of_classes(cli, bins, letters):
    assert cli("plot", bins.path, "--kind", "gates").done().out == f"{bins.path / 'gates.png'}\n"
    assert cli("plot", letters.path, "--kind", "loss").done().out == f"{letters.path / 'loss.png'}\n"
    cli("plot", letters.path, "--kind", "rollout").refused(2, "--kind rollout")


def test_several_runs(cli, copied):
    names = [run.name for run in copied]
    outcome = cli("plot", *names, "--kind", "loss", "--output-dir", copied[0].parent).done()
    assert outcome.out.splitlines() == [str(run / "loss.png") for run in copied]


@pytest.mark.parametrize("kind", ["loss", "horizon"])
def test_svg_is_reproducible(cli, copied, kind):
    picture = copied[0] / f"{kind}.svg"
    contents = set()
    for _ in range(2):
        cli("plot", copied[0], "--kind", kind, "--format", "svg").done()
        contents.add(picture.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("arguments", [("--kind", "spiral"), ("--format", "bmp")])
def test_bad_arguments(cli, sines, arguments):
    cli("plot", sines.path, *arguments).refused(2, arguments[1])


def test_damaged_metrics(cli, damaged):
    (damaged / "metrics.jsonl").write_text('{"step": 1, "lo')
    cli("plot", damaged, "--kind", "loss").refused(5, "metrics.jsonl")
    (damaged / "metrics.jsonl").unlink()
    cli("plot", damaged, "--kind", "loss").refused(5, "metrics.jsonl")
    (damaged / "metrics.jsonl").write_text('{"step": 1}\n')
    cli("plot", damaged, "--kind", "loss").refused(5, "metrics.jsonl")


def test_an_unwritable_picture(cli, damaged):
    (damaged / "loss.png").unlink()
    (damaged / "loss.png").mkdir()
    cli("plot", damaged, "--kind", "loss").refused(9, "loss.png")


def test_characters_that_the_font_lacks_are_one_warning(cli, two_config, tmp_path):
    config = two_config(data__columns=["水位", "b"])
    table = config.with_name("two.csv")
    table.write_text(table.read_text().replace("when,a,b", "when,水位,b"), encoding="utf-8")
    trained = cli("train", "--config", config, "--output-dir", tmp_path, "--name", "run").done()
    for outcome in (trained, cli("plot", tmp_path / "run").done()):
        assert outcome.err.count("warning: ") == 1
        assert "warning: the picture has boxes for 水位" in outcome.err
