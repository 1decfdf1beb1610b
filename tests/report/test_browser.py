"""The report in a browser: Chromium without a window and without a network, driven by selenium."""

import base64
import importlib.util
import os
import shutil
import time
from pathlib import Path

import pytest
from fabricated_pages import PAGES, write_pages
from fabricated_tables import SCRIPT
from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) or os.environ.get("EDIT_ROBUSTNESS_NO_BROWSER") == "1",
    reason="needs Chromium and its driver: apt-get install chromium chromium-driver",
)

SCREEN = (1400, 1000)
A4 = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
A4_INSIDE_MARGINS = 695
"""Pixels: 210 mm less two margins of 13 mm, at 96 pixels per inch."""

SIZES = """
return [...document.querySelectorAll(".plot")].map((plot) => {
  const drawn = plot.querySelector("svg.main-svg").getBoundingClientRect();
  const card = plot.closest("figure").getBoundingClientRect();
  const caption = plot.closest("figure").querySelector("figcaption").getBoundingClientRect();
  return {
    name: plot.id, width: Math.round(drawn.width), height: Math.round(drawn.height),
    above_caption: drawn.bottom <= caption.top + 1,
    in_card: drawn.left >= card.left && drawn.right <= card.right,
  };
});
"""

OVERFLOWING = """
return [...document.querySelectorAll("main *")]
  .filter((element) => !element.closest("svg") && element.getBoundingClientRect().width)
  .filter((element) => element.getBoundingClientRect().right > arguments[0] + 0.5)
  .map((element) => `${element.closest("section")?.id}: ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
"""

TEXT_UNDER_CHARTS = """
const charts = [...document.querySelectorAll(".plot svg.main-svg")].map((svg) => svg.getBoundingClientRect());
const words = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
const covered = [];
while (words.nextNode()) {
  const node = words.currentNode;
  if (!node.textContent.trim() || node.parentElement.closest("svg, script, style, .plot")) continue;
  const range = document.createRange();
  range.selectNode(node);
  const covers = (chart) => [...range.getClientRects()].some((box) =>
    box.left < chart.right && box.right > chart.left && box.top < chart.bottom - 1 && box.bottom > chart.top + 1);
  if (charts.some(covers)) covered.push(node.textContent.trim().slice(0, 60));
}
return [...new Set(covered)];
"""

HEADERS_AMONG_ROWS = """
document.querySelector(".heat tbody tr:last-child")?.scrollIntoView({ behavior: "instant" });
return [...document.querySelectorAll("table")].filter((table) => table.tHead && table.getBoundingClientRect().height)
  .filter((table) => [...table.tHead.rows[0].cells].some((header) =>
    header.getBoundingClientRect().bottom > table.tBodies[0].getBoundingClientRect().top + 1)).length;
"""

CONTRAST = """
// the formula of WCAG 2.2, 1.4.3; a canvas reads every form of a colour that the browser computes
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const brush = canvas.getContext("2d", { willReadFrequently: true });
const known = new Map();
const rgba = (text) => {
  if (!known.has(text)) {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = text;
    brush.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
    known.set(text, [red, green, blue, alpha / 255]);
  }
  return known.get(text);
};
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const layer = rgba(getComputedStyle(at).backgroundColor);
    if (layer[3]) layers.push(layer);
    if (layer[3] === 1) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
};
const luminance = (colour) => {
  const [red, green, blue] = colour.slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const failures = new Map();
let texts = 0;
const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (words.nextNode()) {
  const element = words.currentNode.parentElement;
  if (!words.currentNode.textContent.trim() || element.closest("script, style, defs")) continue;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  if (!box.width || style.visibility === "hidden") continue;
  const below = behind(element);
  let ink = rgba(element instanceof SVGElement ? style.fill : style.color);
  if (element instanceof SVGElement) ink = [...ink.slice(0, 3), ink[3] * Number(style.fillOpacity)];
  const [light, dark] = [luminance(over(ink, below)), luminance(below)].sort((a, b) => b - a);
  texts += 1;
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) {
    const place = `${element.tagName}.${element.getAttribute("class") ?? ""} in ${element.closest("section, nav")?.id}`;
    failures.set(place, `${ratio.toFixed(2)}: ${words.currentNode.textContent.trim().slice(0, 40)}`);
  }
}
return { texts, failures: [...failures].map((pair) => pair.join(" ")) };
"""


AXE = """
const done = arguments[arguments.length - 1];
const runOnly = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
axe.run(document, {
  runOnly, resultTypes: ["violations"],
  rules: { "focus-order-semantics": { enabled: true }, "css-orientation-lock": { enabled: true } },
}).then((result) => done({
  checked: result.passes.map((rule) => rule.id),
  violations: result.violations.map((rule) => `${rule.id}: ${rule.help} (${rule.nodes.length}): ` +
    rule.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + node.html.slice(0, 120)).join(" | ")),
}), (error) => done({ checked: [], violations: [String(error)] }));
"""
"""Checks by axe-core of a document: WCAG 2.2 at the levels A and AA, good practice, and the order of the focus."""


def wait_for(holds, seconds=10):
    """Wait until a condition holds, and return whether it does; plotly redraws a moment after the window changes."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages")
    write_pages(path)
    return path


@pytest.fixture(scope="module")
def address(folder):
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions")
    for flag in (*flags, "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={SCREEN[0]},{SCREEN[1]}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    except WebDriverException as error:  # such as in a container that forbids it
        pytest.skip(f"Chromium does not start: {error.msg}")
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded at the usual size, on a light screen."""
    emulate(browser)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(*SCREEN)
    browser.get(address)
    return browser


def emulate(browser, media="screen", scheme="light"):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def measure(page):
    return page.execute_script(SIZES)


def measure_at_rest(page):
    """The sizes once they stay the same for half a second: the window may have had another size a moment ago."""
    sizes = []

    def is_at_rest():
        sizes.append(measure(page))
        return len(sizes) >= 10 and all(size == sizes[-1] for size in sizes[-10:])

    assert wait_for(is_at_rest), sizes[-1]
    return sizes[-1]


def test_charts_keep_their_height_and_fit_their_cards_when_the_window_is_resized(page):
    before = measure_at_rest(page)
    assert len(before) == 5

    def are_narrow():
        return all(chart["width"] < 700 for chart in measure(page))

    for width in (700, 1400):
        page.set_window_size(width, SCREEN[1])
        assert wait_for(lambda width=width: are_narrow() == (width == 700)), measure(page)
        charts = measure(page)
        assert [chart["height"] for chart in charts] == [chart["height"] for chart in before]
        assert all(chart["in_card"] and chart["above_caption"] for chart in charts)
    assert wait_for(lambda: measure(page) == before), measure(page)


def test_a_printed_page_has_no_text_under_charts_and_nothing_beyond_its_edge(page):
    emulate(page, media="print")
    metrics = {"width": A4_INSIDE_MARGINS, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert wait_for(lambda: all(chart["in_card"] for chart in measure(page))), measure(page)
    assert all(chart["above_caption"] for chart in measure(page))
    assert page.execute_script(TEXT_UNDER_CHARTS) == []
    assert page.execute_script(OVERFLOWING, A4_INSIDE_MARGINS) == []
    assert page.execute_script(HEADERS_AMONG_ROWS) == 0


def test_charts_have_their_size_on_the_screen_again_after_printing(page):
    before = measure_at_rest(page)
    page.execute_script("addEventListener('beforeprint', () => { window.printed = true; })")
    document = page.execute_cdp_cmd("Page.printToPDF", A4)
    assert base64.b64decode(document["data"]).startswith(b"%PDF")
    assert page.execute_script("return window.printed")
    assert wait_for(lambda: measure(page) == before), measure(page)


@pytest.mark.parametrize(("media", "scheme"), [("screen", "light"), ("screen", "dark"), ("print", "dark")])
def test_all_text_has_enough_contrast(page, media, scheme):
    emulate(page, media, scheme)
    page.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    if media == "print":
        page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert wait_for(lambda: not page.execute_script(CONTRAST)["failures"], 3), page.execute_script(CONTRAST)
    assert page.execute_script(CONTRAST)["texts"] > 1000


def test_regions_that_scroll_can_be_focused_and_have_names(page):
    page.set_window_size(700, SCREEN[1])
    page.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    silent = """
    return [...document.querySelectorAll("main *")]
      .filter((e) => /auto|scroll/.test(getComputedStyle(e).overflowX + getComputedStyle(e).overflowY))
      .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
      .filter((e) => e.tabIndex < 0 || e.getAttribute("role") !== "region" || !e.getAttribute("aria-label"))
      .map((e) => e.className);
    """
    assert wait_for(lambda: page.execute_script(silent) == []), page.execute_script(silent)


def test_headers_have_text(page):
    headers = "return [...document.querySelectorAll('th')].filter((e) => !e.textContent.trim()).length"
    assert page.execute_script(headers) == 0


def test_the_console_has_no_errors(page):
    assert wait_for(lambda: measure(page))
    assert [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@pytest.fixture(scope="module")
def axe():
    """The script of axe-core; the package around it is for another driver, and is not imported."""
    folder = Path(importlib.util.find_spec("axe_playwright_python").origin).parent
    return (folder / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(browser, folder, axe, name, scheme):
    emulate(browser, scheme=scheme)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(*SCREEN)
    browser.get((folder / f"{name}.html").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.execute_script("document.querySelector('.heat td .open')?.click()")
    browser.execute_script(axe)
    browser.set_script_timeout(120)
    result = browser.execute_async_script(AXE)
    assert result["violations"] == []
    assert {"color-contrast", "page-has-heading-one", "document-title", "bypass"} <= set(result["checked"])


def open_cell(page, method, kind):
    cell = f"//table[@data-protocol='free']//td[@data-method='{method}' and @data-kind='{kind}']"
    return page.find_element("xpath", cell), page.find_element("xpath", f"{cell}/button")


def test_a_cell_shows_its_figures_and_its_answers_to_the_keyboard(page):
    cell, button = open_cell(page, "rome", "doubt")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    answers = page.find_element("css selector", ".heat .answers")
    assert wait_for(answers.is_displayed)
    assert answers.find_element("css selector", "h2, h3, h4").text == "ROME, doubt, free generation"
    for figure in cell.get_attribute("title").split("; "):
        assert figure in answers.text
    outcomes = [tag.text for tag in answers.find_elements("css selector", ".tag")]
    assert len(outcomes) == 5
    assert outcomes[0] != "new object"
    # what the model wrote is text: the made-up answers hold a script
    assert SCRIPT in answers.text
    assert page.title.startswith("Edit Robustness")
    page.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    assert wait_for(lambda: not answers.is_displayed())
    assert page.switch_to.active_element == button


def test_arrow_keys_go_from_cell_to_cell(page):
    first, right = (open_cell(page, method, "statement")[1] for method in ("none", "context"))
    assert (first.get_attribute("tabindex"), right.get_attribute("tabindex")) == ("0", "-1")
    page.execute_script("arguments[0].focus()", first)
    first.send_keys(Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == right
    assert (first.get_attribute("tabindex"), right.get_attribute("tabindex")) == ("-1", "0")


def test_all_answers_of_a_cell_come_from_a_file_beside_the_page(page):
    _, button = open_cell(page, "rome", "doubt")
    page.execute_script("arguments[0].click()", button)
    answers = page.find_element("css selector", ".heat .answers")
    (show_all,) = answers.find_elements("css selector", "p button")
    total = int(show_all.text.split()[2])
    page.execute_script("arguments[0].focus()", show_all)
    show_all.send_keys(Keys.ENTER)

    def count():
        return len(answers.find_elements("css selector", ".case"))

    assert wait_for(lambda: count() == total)
    assert SCRIPT in answers.text
    assert page.title.startswith("Edit Robustness")
    field = answers.find_element("css selector", ".filter input")
    assert page.switch_to.active_element == field
    field.send_keys("no answer has this")
    assert wait_for(lambda: count() == 0)
    assert f"0 of 0 shown, of {total}" in answers.text


def test_thousands_of_answers_are_shown_a_few_at_a_time(page):
    _, button = open_cell(page, "rome", "doubt")
    page.execute_script(
        """receiveAnswers("smollm2.rome.doubt", {
          texts: ["a", "b", "c", "d", "e", "f", "new object"],
          protocols: { free: Array.from({ length: 3000 }, () => [0, 1, 2, 3, 4, 5, 6]) },
        }); arguments[0].click();""",
        button,
    )
    answers = page.find_element("css selector", ".heat .answers")
    page.execute_script("arguments[0].click()", answers.find_element("css selector", "p button"))
    assert wait_for(lambda: len(answers.find_elements("css selector", ".case")) == 50)
    more_button = answers.find_element("css selector", ".cases + .close")
    assert more_button.text == "Show 50 more"
    page.execute_script("arguments[0].focus()", more_button)
    more_button.send_keys(Keys.ENTER)
    cases = answers.find_elements("css selector", ".case")
    assert len(cases) == 100
    assert page.switch_to.active_element == cases[50]


def test_a_page_without_its_files_says_so(page):
    _, button = open_cell(page, "rome", "statement")
    page.execute_script(
        "const append = document.head.append; document.head.append = (script) => {"
        "  script.src = script.src.replace('.js', '.missing.js'); append.call(document.head, script); };"
        "arguments[0].click();",
        button,
    )
    answers = page.find_element("css selector", ".heat .answers")
    page.execute_script("arguments[0].click()", answers.find_element("css selector", "p button"))
    assert wait_for(lambda: "is not beside the page" in answers.text)
    assert len(answers.find_elements("css selector", ".case")) == 5
    page.get_log("browser")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(browser, folder, name):
    emulate(browser)
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((folder / f"{name}.html").as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    wide = "return document.documentElement.scrollWidth > 391"
    assert wait_for(lambda: not browser.execute_script(wide)), browser.execute_script(OVERFLOWING, 390)


COLUMN = """
const [table, column] = arguments;
return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim());
"""


def test_tables_are_sorted_by_a_button_and_filtered_by_a_text(page):
    table = page.find_element("css selector", "#protocols details table.data")

    def is_open():
        page.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        return table.is_displayed()

    assert wait_for(is_open)
    headers = table.find_elements("css selector", "thead th")
    titles = [header.get_attribute("textContent").strip() for header in headers]
    gap = next(place for place, title in enumerate(titles) if title.startswith("Gap"))
    before = page.execute_script(COLUMN, table, gap)
    button = headers[gap].find_element("tag name", "button")
    for order, is_reverse in (("ascending", False), ("descending", True)):
        page.execute_script("arguments[0].focus()", button)
        button.send_keys(Keys.ENTER)
        assert headers[gap].get_attribute("aria-sort") == order
        gaps = [float(text.split()[0]) for text in page.execute_script(COLUMN, table, gap)]
        assert gaps == sorted(gaps, reverse=is_reverse)
    assert len(gaps) == len(before)
    # what has no figure is last in both directions
    cut_column = len(headers) - 1
    cells = page.find_elements("css selector", "#protocols details table.data tbody tr")
    page.execute_script("arguments[0].cells[arguments[1]].textContent = '–'", cells[0], cut_column)
    for _ in range(2):
        page.execute_script("arguments[0].click()", headers[cut_column].find_element("tag name", "button"))
        assert page.execute_script(COLUMN, table, cut_column)[-1] == "–"
    # the button has the focus, and not its header too
    assert all(header.get_attribute("tabindex") is None for header in headers)
    field = page.find_element("css selector", "#protocols details .filter input")
    field.send_keys("rome")
    assert set(page.execute_script(COLUMN, table, 0)) == {"ROME"}
    field.clear()
    field.send_keys("no row has this")
    assert page.execute_script(COLUMN, table, 0) == []
