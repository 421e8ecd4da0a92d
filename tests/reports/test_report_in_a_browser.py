"""The report of a sweep in a real browser: headless Chromium, driven over its own protocol."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from lstmcast.reports.page import sweep_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: apt-get install chromium")
NAME = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(write_run, tmp_path_factory):
    """Write the report of three learning rates, two seeds each, and a run that is not done; return its file."""
    folder = tmp_path_factory.mktemp("sweep")
    runs = [
        write_run(
            folder, f"run-{rate}-{seed}", seed, 10 * rate + seed / 100, config={"optimizer": {"learning_rate": rate}}
        )
        for rate in (0.1, 0.02, 0.003)
        for seed in (1, 2)
    ]
    for record in runs:
        steps = range(1, 200)
        rows = [f"0,{k},{k % 7},{k % 8}" for k in steps]
        record.run.forecast.write_text("\n".join(["series,step,value,truth", *rows]) + "\n")
        lines = [f'{{"step": {k}, "loss": {1 / k}, "learning_rate": 0.1}}\n' for k in steps]
        record.run.metrics.write_text("".join(lines))
    hostile = {"data": {"path": "<script>document.title='x'</script>"}}
    runs.append(write_run(folder, NAME, 3, None, status="running", config=hostile))
    path = folder / "report.html"
    path.write_text(sweep_page("sweep & <b>", runs, "rollout.rmse@10"))
    return path


@pytest.fixture
def page(browser, report):
    """Open the report, and at the end demand that nothing was fetched, said or refused."""
    page, noise = browser.new_page(viewport={"width": 1200, "height": 900}), []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: noise.append(request.url) if request.url != report.as_uri() else None)
    page.goto(report.as_uri())
    yield page
    assert page.title() == "sweep & <b>"
    assert noise == []
    page.close()


def shown(page):
    script = "rows => rows.filter(row => !row.hidden).map(row => row.cells[0].textContent)"
    return page.eval_on_selector_all("table.sortable tbody tr", script)


BY_SCORE = ["run-0.003-1", "run-0.003-2", "run-0.02-1", "run-0.02-2", "run-0.1-1", "run-0.1-2", NAME]


def test_sorted_by_any_column(page):
    assert shown(page) == BY_SCORE
    page.get_by_role("button", name="learning_rate").click()
    assert [name.rpartition("-")[0] for name in shown(page)[:4]] == ["run-0.003"] * 2 + [""] + ["run-0.02"]
    head = page.get_by_role("button", name="rollout@10")
    head.click()
    assert shown(page) == BY_SCORE
    head.press("Enter")  # the keyboard does it too; what has no score stays last
    assert shown(page) == [*BY_SCORE[5::-1], NAME]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_what_diverged_is_never_sorted_to_the_top(browser, write_run, tmp_path):
    runs = [write_run(tmp_path, f"run-{seed}", seed, 2.0 + seed) for seed in (1, 2)]
    runs.append(write_run(tmp_path, "lucky", 3, 1e-9, status="diverged"))
    path = tmp_path / "report.html"
    path.write_text(sweep_page("sweep", runs, "rollout.rmse@10"))
    page = browser.new_page()
    page.goto(path.as_uri())
    head = page.get_by_role("button", name="rollout@10")
    for expected in (["run-2", "run-1", "lucky"], ["run-1", "run-2", "lucky"]):
        head.click()
        assert shown(page) == expected
    page.get_by_role("button", name="seed").click()
    page.get_by_role("button", name="seed").click()
    assert shown(page)[0] == "lucky"
    page.close()


def test_filtered_by_words_and_by_values(page):
    field = page.get_by_label("Filter")
    for text, found in [
        ("0.02", ["run-0.02-1", "run-0.02-2"]),
        ("RUN finished seed=1", ["run-0.003-1", "run-0.02-1", "run-0.1-1"]),
        ("learning_rate<0.01", ["run-0.003-1", "run-0.003-2"]),
        ("rollout@10>1", ["run-0.1-1", "run-0.1-2"]),
        ("nowhere", []),
        ("", BY_SCORE),
    ]:
        field.fill(text)
        assert shown(page) == found
        assert page.get_by_role("status").text_content() == f"{len(found)} of 7 shown"


def test_drill_down(page):
    page.locator("table.sortable").get_by_role("link", name="run-0.02-2").click()
    details = page.locator("details[open]")
    assert details.count() == 1
    assert details.locator("svg:visible").count() >= 2
    assert "run-0.02-2" in details.locator("svg title").first.text_content()


def test_the_same_without_javascript_on_a_phone_in_the_dark(browser, report):
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 800}, color_scheme="dark", is_mobile=True
    )
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("table.sortable tbody tr:visible").count() == 7
    assert not page.get_by_label("Filter").is_visible()
    page.locator("summary", has_text="run-0.1-2").click()
    assert page.locator("details[open] svg").first.is_visible()
    assert all(
        box["x"] + box["width"] <= 390 for box in [svg.bounding_box() for svg in page.locator("svg:visible").all()]
    )
    context.close()


def test_light_and_dark_and_no_wider_than_a_phone(browser, report):
    grounds = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.close()
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


def test_a_script_that_is_not_ours_would_not_run(browser, report, tmp_path):
    poisoned = tmp_path / "poisoned.html"
    poisoned.write_text(report.read_text().replace("</main>", "<script>document.title='hacked'</script></main>"))
    page = browser.new_page()
    page.goto(poisoned.as_uri())
    assert page.title() == "sweep & <b>"
    page.close()
