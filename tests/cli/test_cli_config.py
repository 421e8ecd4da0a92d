import json
import re
from pathlib import Path

import jsonschema
import pytest

from lstmcast.config.build import dump_config
from lstmcast.config.load import load
from lstmcast.config.shipped import FOLDER
from lstmcast.config.yaml_file import parse

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
needs_sunspots = pytest.mark.skipif("sunspots" not in NAMES, reason="the config is not there")


def test_list(cli):
    quiet, text = cli("config", "list", "--quiet").done(), cli("config", "list").done()
    assert quiet.out.splitlines() == NAMES
    document = cli("config", "list", "--json").done().json
    assert document["schema_version"] == 1
    assert [config["name"] for config in document["configs"]] == NAMES
    for config in document["configs"]:
        assert config["summary"]
        assert not config["summary"].startswith("#")
        assert config["name"] in text.out
    assert quiet.err == text.err == ""
    cli("config", "list", "--json", "--quiet").refused(2, "--json")


@pytest.mark.parametrize("name", NAMES)
def test_show_prints_a_config_that_loads_to_the_same(cli, tmp_path, name):
    shown = tmp_path / "shown.yaml"
    shown.write_text(cli("config", "show", name).done().out)
    assert load(str(shown)) == load(name)


def test_show_resolves_defaults_and_overrides(cli, sines):
    shown = cli("config", "show", sines.config, "seed=9", "optimizer.learning_rate=1e-4").done()
    assert shown.out == dump_config(load(str(sines.config), ["seed=9", "optimizer.learning_rate=1e-4"]))
    assert "betas:" in shown.out
    assert "seed: 9\n" in shown.out
    cli("config", "show", sines.config, "seed=-9").refused(2, "seed=-9")
    cli("config", "show", "nope").refused(4, "nope")


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_valid(cli, tmp_path, name):
    copied = tmp_path / "mine.yaml"
    outcome = cli("config", "copy", name, copied).done()
    assert {Path(line) for line in outcome.out.splitlines()} == set(tmp_path.iterdir())
    first, _, rest = copied.read_bytes().partition(b"\n")
    assert first == b"# yaml-language-server: $schema=lstmcast.schema.json"
    assert rest == (FOLDER / f"{name}.yaml").read_bytes()
    assert cli("config", "validate", copied).done().out == f"{copied}: valid\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_beside_a_copy_accepts_it_and_no_slips(cli, tmp_path, name):
    copied = tmp_path / "mine.yaml"
    cli("config", "copy", name, copied).done()
    line = copied.read_text().splitlines()[0]
    schema = json.loads((tmp_path / line.partition("$schema=")[2]).read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    tree = parse(copied.read_text()).value
    validator.validate(tree)
    for section, key, value in (("optimizer", "kind", "adm"), ("model", "cel", "lstm"), ("training", "steps", "many")):
        assert not validator.is_valid(tree | {section: tree.get(section, {}) | {key: value}})


def test_a_schema_of_another_version_is_left_alone_aloud(cli, tmp_path):
    (tmp_path / "lstmcast.schema.json").write_text("{}")
    outcome = cli("config", "copy", NAMES[0], tmp_path / "mine.yaml").done()
    assert "lstmcast config schema >" in outcome.err
    assert (tmp_path / "lstmcast.schema.json").read_text() == "{}"


@needs_sunspots
def test_copy_takes_the_data_along(cli, tmp_path):
    copied = tmp_path / "mine.yaml"
    cli("config", "copy", "sunspots", copied).done()
    data = load(str(copied)).data.path
    assert Path(data).parent == tmp_path
    assert Path(data).read_bytes() == Path(load("sunspots").data.path).read_bytes()


@needs_sunspots
@pytest.mark.parametrize("existing", ["mine.yaml", "sunspots-yearly.csv"])
def test_copy_never_overwrites(cli, tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    cli("config", "copy", "sunspots", tmp_path / "mine.yaml").refused(9, existing, "there already")
    assert (tmp_path / existing).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


@needs_sunspots
def test_copy_to_the_name_of_its_own_data(cli, tmp_path):
    outcome = cli("config", "copy", "sunspots", tmp_path / "sunspots-yearly.csv")
    assert outcome.code != 0
    assert not list(tmp_path.iterdir())


def test_copy_needs_a_shipped_config_and_a_place(cli, sines, tmp_path):
    cli("config", "copy", "nope", tmp_path / "x.yaml").refused(4, "nope", "hint: ")
    cli("config", "copy", sines.config, tmp_path / "x.yaml").refused(4, "no shipped config")
    cli("config", "copy", NAMES[0], tmp_path / "nowhere" / "x.yaml").refused(9, "nowhere")
    cli("config", "copy", NAMES[0], tmp_path).refused(9, str(tmp_path))


def test_validate_reports_all_files(cli, sines, sines_config, two_config):
    wrong, table = sines_config(data__length=-1, training__batch_size=0), two_config()
    table.with_name("two.csv").write_text("a,b\n1,x\n")
    outcome = cli("config", "validate", sines.config, wrong, table)
    assert outcome.code == 5
    assert outcome.out == f"{sines.config}: valid\n"
    assert outcome.err.count("error: ") == 2
    for needle in ("data.length", "training.batch_size", "two.csv:2", "'x'"):
        assert needle in outcome.err
    assert "Traceback" not in outcome.err


STAGE = {"optimizer": {"kind": "levenberg_marquardt"}, "training": {"steps": 1}}


@pytest.mark.parametrize(
    ("changes", "code", "needle"),
    [
        ({"training__batch_size": 50}, 5, "training.batch_size"),
        ({"training__rollout": {"steps": 60}}, 5, "training.rollout.steps"),
        ({"then": [STAGE | {"training": {"steps": 1, "rollout": {"steps": 60}}}]}, 5, "then.0.training.rollout.steps"),
        ({"then": [STAGE], "model__hidden_sizes": [40]}, 5, "then.0.optimizer.kind"),
        ({"data__timesteps": 60}, 5, "timesteps"),
        ({"data": {"kind": "series", "path": "no.csv", "columns": ["a"], "timesteps": 5}}, 4, "no.csv"),
    ],
)
def test_validate_checks_sizes_and_data(cli, sines_config, changes, code, needle):
    config = sines_config(**changes)
    for place in (config, config.with_name("data.yaml")):  # a name that is a key's, too
        config = config.rename(place)
        outcome = cli("config", "validate", config).refused(code, needle)
        assert re.match(rf"error: {config}:[1-9]\d*: " if code == 5 else "error: .*no.csv: ", outcome.err)
        assert outcome.err.count(str(config)) == (code == 5)


def test_validate_finds_no_file(cli):
    cli("config", "validate", "nope.yaml").refused(4, "nope.yaml")
    cli("config", "validate").refused(2, "FILE")


def test_schema(cli):
    schema = cli("config", "schema").done().json
    assert schema["$schema"].startswith("https://json-schema.org/")
    sections = {"data", "model", "optimizer", "schedule", "training", "then"}
    assert schema["properties"].keys() == {"seed", "tracker", *sections}
    assert schema["additionalProperties"] is False
    kinds = schema["properties"]["data"]["discriminator"]["mapping"]
    assert kinds.keys() >= {"windowed_sine", "sine_bank", "random_segments", "series"}
    bank = schema["$defs"][kinds["sine_bank"].rsplit("/", 1)[1]]
    assert bank["additionalProperties"] is False
    assert bank["properties"].keys() >= {"sequences", "length", "scale", "test_sequences", "timesteps", "horizon"}
