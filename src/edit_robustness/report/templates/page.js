(() => {
  "use strict";
  // texts that a model wrote go into the page by textContent only, which reads no markup
  const make = (tag, className, text, parent) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };

  // tables: a button in each header sorts, and a field above a long table filters
  const SORTED_FROM = 3;
  const FILTERED_FROM = 10;
  const cellAt = (row, column) => {
    let place = 0;
    for (const cell of row.cells) {
      place += cell.colSpan;
      if (column < place) return cell.textContent.trim();
    }
    return "";
  };
  const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
  const number = (text) => {
    const digits = text.replace(/,/g, "").match(/^\D*?(-?\d*\.?\d+)\s*([KMG]?iB|B\b)?/);
    return digits ? Number(digits[1]) * (UNITS[digits[2]] ?? 1) : NaN;
  };
  const words = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const compare = (first, second, isNumber) => {
    if (!isNumber) return words.compare(first, second);
    return number(first) - number(second);
  };
  const sort = (table, header, rows) => {
    const descending = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const isNumber = header.classList.contains("n");
    const column = header.cellIndex;
    const keys = new Map(rows.map((row) => [row, cellAt(row, column)]));
    // what has no figure stays at the end in both directions
    const empty = (row) => (isNumber ? Number.isNaN(number(keys.get(row))) : !keys.get(row) || keys.get(row) === "–");
    const sorted = [...rows].sort((a, b) => empty(a) - empty(b)
      || (empty(a) ? 0 : compare(keys.get(a), keys.get(b), isNumber) * (descending ? -1 : 1)));
    table.tBodies[0].append(...sorted);
  };
  document.querySelectorAll("table.data").forEach((table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < SORTED_FROM) return;
    [...table.tHead.rows[0].cells].forEach((header) => {
      const button = make("button", "sort");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header, rows));
    });
    if (rows.length < FILTERED_FROM) return;
    const label = make("label", "filter", "Filter rows ");
    const field = make("input", "", undefined, label);
    field.type = "search";
    const count = make("output", "soft", "", label);
    field.addEventListener("input", () => {
      const sought = field.value.trim().toLowerCase();
      rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(sought); });
      count.textContent = sought ? ` ${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
    });
    const region = table.closest(".scroll") ?? table;
    // a card that scrolls holds the field, so that both are in one frame
    (region.classList.contains("card") ? table : region).before(label);
  });

  // heat maps: each cell with answers gets a button, and one cell of a table is in the order of the tab key
  const script = document.getElementById("examples");
  const { texts, cells } = script ? JSON.parse(script.textContent) : { texts: [], cells: {} };
  const turn = (parent, role, label, text) => {
    const block = make("div", "turn " + role, undefined, parent);
    block.dir = "auto";
    make("small", "", label, block).dir = "ltr";
    block.append(text || "(nothing)");
  };
  const show = (answers, cell, heading, places, protocol) => {
    answers.replaceChildren();
    answers.hidden = false;
    const bar = make("header", "", undefined, answers);
    const title = make("h4", "", heading, bar);
    title.tabIndex = -1;
    const close = make("button", "close", "Close", bar);
    close.type = "button";
    close.addEventListener("click", () => {
      answers.hidden = true;
      cell.querySelector("button").focus();
    });
    const figures = make("ul", "figures", undefined, answers);
    cell.dataset.figures.split("; ").forEach((figure) => make("li", "", figure, figures));
    if (places.length) {
      make("p", "soft", `${places.length} ${places.length === 1 ? "answer" : "answers"}, those that fail first. The answer is by free generation under every protocol; all answers are in answers.csv.`, answers);
    } else {
      make("p", "soft", "The page has no answers of this cell; all answers are in answers.csv.", answers);
    }
    const cases = make("div", "cases", undefined, answers);
    places.forEach((place) => {
      const [subject, targetTrue, targetNew, prompt, before, text, outcome] = place.map((at) => texts[at]);
      const article = make("article", "case", undefined, cases);
      const header = make("header", "", undefined, article);
      make("strong", "", subject, header).dir = "auto";
      make("span", "tag", outcome, header);
      const swap = make("div", "swap", undefined, article);
      make("span", "", targetTrue || "(unknown)", swap).dir = "auto";
      swap.append(" → ");
      make("b", "", targetNew, swap).dir = "auto";
      turn(article, "asked", "prompt", prompt);
      if (before) turn(article, "said", "before the edit", before);
      turn(article, "said" + (outcome === "new object" ? " new" : outcome === "old object" ? " old" : ""), "answer", text);
    });
    title.focus({ preventScroll: true });
    answers.scrollIntoView({ block: "nearest" });
    nameRegions();
  };
  document.querySelectorAll(".heat table").forEach((table) => {
    const answers = table.closest(".heat").querySelector(".answers");
    const columns = [...table.tHead.rows[0].cells].map((header) => header.firstChild?.textContent ?? "");
    const grid = [...table.querySelectorAll("tbody tr")]
      .map((row) => [...row.querySelectorAll("td[data-method]")])
      .filter((row) => row.length);
    grid.forEach((row, line) => row.forEach((cell, column) => {
      const { model, protocol } = table.dataset;
      const kind = cell.parentElement.cells[0].firstChild.textContent.trim();
      const places = cells[JSON.stringify([model, protocol, cell.dataset.method, cell.dataset.kind])] ?? [];
      const label = table.closest(".view").querySelector("h4").textContent;
      const heading = `${columns[cell.cellIndex]}, ${kind.toLowerCase()}, ${label.toLowerCase()}`;
      cell.dataset.figures = cell.title;
      const button = make("button", "open", undefined, cell);
      button.type = "button";
      button.tabIndex = line === 0 && column === 0 ? 0 : -1;
      button.setAttribute("aria-label", `${heading}: ${cell.title}. Show answers`);
      button.addEventListener("click", () => show(answers, cell, heading, places, protocol));
      button.addEventListener("keydown", (event) => {
        const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
        const step = steps[event.key];
        const next = step && grid[line + step[0]]?.[column + step[1]]?.querySelector("button");
        if (!step) return;
        event.preventDefault();
        if (!next) return;
        button.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    }));
  });

  // what scrolls can be focused, so that the arrow keys scroll it
  const nameRegions = () => document.querySelectorAll(".turn, figure.card").forEach((box) => {
    if (box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1) return;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", box.querySelector("small, figcaption").textContent);
  });
  nameRegions();
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(nameRegions, 200);
  });
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", nameRegions));
})();
