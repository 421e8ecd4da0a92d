import pytest

KNOWN = set("".join(["anna", "hanna", "otto", "lina", "nina", "ottilie", "tina", "anne"]))


def test_one_line_each(cli, letters):
    outcome = cli("sample", letters.path, "--count", 5).done()
    lines = outcome.out.split("\n")
    assert len(lines) == 6
    assert set(outcome.out) <= KNOWN | {"\n"}
    assert outcome.err == ""
    assert cli("sample", letters.path, "--count", 5).done().out == outcome.out
    assert cli("sample", letters.path, "--count", 5, "--seed", 1).done().out != outcome.out


def test_json(cli, letters):
    document = cli("sample", letters.path, "--count", 3, "--json").done().json
    assert document["schema_version"] == 1
    assert document["run"] == str(letters.path)
    assert "\n".join(document["samples"]) + "\n" == cli("sample", letters.path, "--count", 3).done().out


def test_prompt_temperature_and_length(cli, letters):
    def samples(*options):
        return cli("sample", letters.path, "--count", 8, "--json", *options).done().json["samples"]

    assert all(text.startswith("ott") for text in samples("--prompt", "ott"))
    assert len(set(samples("--temperature", "0", "--prompt", "a"))) == 1
    assert len(set(samples())) > 1
    assert max(map(len, samples("--max-length", 2, "--temperature", 100))) <= 2


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (("--count", "0"), "--count"),
        (("--temperature", "-1"), "--temperature"),
        (("--temperature", "nan"), "--temperature"),
        (("--seed", "-1"), "--seed"),
        (("--max-length", "0"), "--max-length"),
        (("--prompt", "xyz"), "'x'"),
    ],
)
def test_bad_arguments(cli, letters, arguments, needle):
    cli("sample", letters.path, *arguments).refused(2, needle)


def test_values_are_forecast_instead(cli, sines, bins):
    for run in (sines, bins):
        cli("sample", run.path).refused(2, str(run.path), "lstmcast predict")
