import json
import math
import os
from datetime import datetime

import pytest

from lstmcast.errors import InvalidError, NotFoundError, UnwritableError, UsageError
from lstmcast.files import replacing, to_json, write, writing
from lstmcast.runs import Run, all_runs, check_name, create, created_now, find


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "_x", "x" * 100])
def test_good_names(name):
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "-x", "a/b", "../a", "/a", "a b", "a\n", "a\0", "é", "１", "x" * 101, "latest"]
)
def test_bad_names(tmp_path, name):
    with pytest.raises(UsageError, match="--name"):
        check_name(name)
    with pytest.raises(UsageError):
        create(tmp_path / "outputs", name, "stem")
    assert not (tmp_path / "outputs").exists()


def test_create_makes_the_folders(tmp_path):
    run = create(tmp_path / "a" / "b", "run", "stem")
    assert run.path == tmp_path / "a" / "b" / "run"
    assert run.name == "run"
    assert run.last.parent.is_dir()
    with pytest.raises(UsageError, match="is there already") as caught:
        create(tmp_path / "a" / "b", "run", "stem")
    assert caught.value.hint == "choose another name"  # nothing in it to go on with
    run.write_manifest()
    with pytest.raises(UsageError, match="is there already") as caught:
        create(tmp_path / "a" / "b", "run", "stem")
    assert f"--resume {run.path}" in caught.value.hint


@pytest.mark.parametrize(
    ("stem", "start"), [("sines", "sines-20"), ("ü b/ç", "b-20"), ("", "run-20"), ("é", "run-20"), ("x" * 300, "xxx")]
)
def test_unnamed_runs_never_share_a_folder(tmp_path, stem, start):
    names = [create(tmp_path, None, stem).name for _ in range(4)]
    assert len(set(names)) == 4
    for name in names:
        assert name.startswith(start)
        check_name(name)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "outputs").write_text("")
    for folder in (tmp_path / "outputs", tmp_path / "outputs" / "deeper"):
        with pytest.raises(UnwritableError, match="outputs"):
            create(folder, "run", "stem")
    (tmp_path / "run").write_text("precious")
    with pytest.raises(UsageError, match="there already"):
        create(tmp_path, "run", "stem")
    assert (tmp_path / "run").read_text() == "precious"


def make(folder, name, created):
    run = create(folder, name, "stem")
    run.write_manifest(created=created)
    return run


def test_runs_are_listed_oldest_first_and_latest_is_the_last(tmp_path):
    for name, day in (("b", 2), ("a", 3), ("c", 1)):
        make(tmp_path, name, f"2020-01-0{day}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, content in (("broken", "{"), ("list", "[]"), ("binary", b"\xff")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [run.name for run, _ in all_runs(tmp_path)] == ["c", "b", "a"]
    assert find("latest", tmp_path).name == "a"
    assert all_runs(tmp_path / "nowhere") == []


def test_find_by_path_or_name(tmp_path, monkeypatch):
    make(tmp_path / "outputs", "mine", "2020")
    path = tmp_path / "outputs" / "mine"
    assert find(str(path), tmp_path / "nowhere").path == path
    assert find("mine", tmp_path / "outputs").path == path
    monkeypatch.chdir(tmp_path)
    assert find("outputs/mine", tmp_path / "nowhere").path.resolve() == path


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("mien", "'mine'"),
        ("../mine", "'mine'"),
        ("mixed", "lstmcast runs"),  # too far
        ("something else", "lstmcast runs"),
        ("", "lstmcast runs"),
        ("a\0b", "lstmcast runs"),
        ("x" * 5000, "lstmcast runs"),
    ],
)
def test_find_nothing(tmp_path, reference, hint):
    make(tmp_path, "mine", "2020")
    with pytest.raises(NotFoundError) as caught:
        find(reference, tmp_path)
    assert hint in caught.value.hint
    assert len(caught.value.message) < 500


def test_a_trial_of_a_sweep_can_be_the_latest(tmp_path):
    create(tmp_path, "old", "x").write_manifest(created="2026-01-01")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    create(tmp_path / "sweep", "trial-001", "x").write_manifest(created="2026-01-02")
    assert find("latest", tmp_path).path == tmp_path / "sweep" / "trial-001"
    assert find("sweep/trial-001", tmp_path).name == "trial-001"
    create(tmp_path, "new", "x").write_manifest(created="2026-01-03")
    assert find("latest", tmp_path).name == "new"


def test_no_latest(tmp_path):
    with pytest.raises(NotFoundError, match="no runs"):
        find("latest", tmp_path)


def test_manifest_fields_add_up(tmp_path):
    run = create(tmp_path, "run", "stem")
    run.write_manifest(status="running", seed=1)
    run.write_manifest(status="finished", verdict="hält")
    assert run.read_manifest() == {"schema_version": 1, "status": "finished", "seed": 1, "verdict": "hält"}


def test_a_run_that_was_killed_has_stopped(tmp_path):
    run = create(tmp_path, "run", "stem")
    run.write_manifest(status="running")
    with run.locked():
        assert run.read_manifest()["status"] == "running"
    assert run.read_manifest()["status"] == "stopped"
    (run.path / "lock").unlink()
    assert run.read_manifest()["status"] == "stopped"
    os.mkfifo(run.path / "lock")  # of a stranger
    assert run.read_manifest()["status"] == "stopped"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"3", b"\xff"])
def test_bad_manifests(tmp_path, content):
    run = create(tmp_path, "run", "stem")
    if content is not None:
        run.manifest.write_bytes(content)
    with pytest.raises(InvalidError, match=r"run\.json"):
        run.read_manifest()


def lines(*steps):
    return "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in steps)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lines(1, 2, 3, 4), lines(1, 2)),
        (lines(1, 2), lines(1, 2)),
        (lines(1), lines(1)),
        ("", ""),
        (None, ""),
        (lines(1) + '{"step": 2, "lo', lines(1)),
        (lines(1) + "garbage\n" + lines(2), lines(1)),
        (lines(1) + "[]\n", lines(1)),
        (lines(1) + "{}\n", lines(1)),
    ],
)
def test_metrics_are_cut_to_the_saved_step(tmp_path, before, after):
    run = Run(tmp_path)
    if before is not None:
        run.metrics.write_text(before)
    run.cut_metrics(2)
    assert run.metrics.read_text() == after
    assert [record["step"] for record in run.read_metrics()] == list(range(1, 1 + after.count("\n")))


@pytest.mark.parametrize("content", [None, b"{", b"\xff\n", b'{"step": 1}\n{"st'])
def test_bad_metrics(tmp_path, content):
    run = Run(tmp_path)
    if content is not None:
        run.metrics.write_bytes(content)
    with pytest.raises(InvalidError, match=r"metrics\.jsonl"):
        run.read_metrics()


def test_write_replaces(tmp_path):
    for content, expected in (("grüße", "grüße".encode()), (b"\xff", b"\xff"), ("", b"")):
        write(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == expected
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("precious")

    def fail():
        with replacing(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(UnwritableError if error is OSError else error):
        fail()
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("where", ["nowhere/file", "file/below", "folder"])
def test_unwritable_places_are_named(tmp_path, where):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnwritableError, match=where):
        write(tmp_path / where, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_writing_lets_a_broken_pipe_through(tmp_path):
    reading, end = os.pipe()
    os.close(reading)

    def send():
        with writing(tmp_path / "pipe"), os.fdopen(end, "wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(BrokenPipeError):
        send()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_without_nan(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"rmse": value})
    assert json.loads(to_json({"ü": 0.1})) == {"ü": 0.1}


def test_times_have_a_zone():
    assert datetime.fromisoformat(created_now()).tzinfo is not None
