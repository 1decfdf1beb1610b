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

  // tables: tablesort sorts by the headers of a table of several rows, and a field above a long one filters
  const SORTED_FROM = 4;
  const FILTERED_FROM = 10;
  const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
  const number = (text) => {
    const digits = text.replace(/,/g, "").match(/^\D*?(-?\d*\.?\d+)\s*([KMG]?iB|B\b)?/);
    return digits ? Number(digits[1]) * (UNITS[digits[2]] ?? 1) : NaN;
  };
  const words = new Intl.Collator(document.documentElement.lang, { numeric: true });
  // tablesort expects the descending order of its functions, and takes the one that a header names
  Tablesort.extend("figure", () => false, (a, b) => {
    const [first, second] = [a, b].map((text) => number(text)).map((value) => (Number.isNaN(value) ? -Infinity : value));
    return first === second ? 0 : first < second ? 1 : -1;
  });
  Tablesort.extend("words", () => false, (a, b) => words.compare(b.trim(), a.trim()));
  const makeSortable = (table) => {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header) => {
      header.dataset.sortMethod = header.classList.contains("n") ? "figure" : "words";
      const button = make("button", "sort");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
    });
    Tablesort(table);
    // the button of a header has the focus, not the header
    headers.forEach((header) => header.removeAttribute("tabindex"));
    table.addEventListener("afterSort", () => {
      // what has no figure stays at the end in both directions
      const header = headers.find((other) => other.hasAttribute("aria-sort"));
      const isFigure = header.dataset.sortMethod === "figure";
      const isEmpty = (text) => (isFigure ? Number.isNaN(number(text)) : !text || text === "–");
      table.tBodies[0].append(...[...table.tBodies[0].rows]
        .filter((row) => isEmpty(row.cells[header.cellIndex].textContent.trim())));
    });
  };
  document.querySelectorAll("table.data").forEach((table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < SORTED_FROM) return;
    makeSortable(table);
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
  const examples = script ? JSON.parse(script.textContent) : { texts: [], cells: {}, files: {} };
  const turn = (parent, role, label, text) => {
    const block = make("div", "turn " + role, undefined, parent);
    block.dir = "auto";
    make("small", "", label, block).dir = "ltr";
    block.append(text || "(nothing)");
  };
  const showCase = (cases, answer) => {
    const [subject, targetTrue, targetNew, prompt, before, text, outcome] = answer;
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
    return article;
  };
  const lookUp = (places, texts) => places.map((answer) => answer.map((place) => texts[place]));

  // a page that is opened from a disk can read another file only as a script, which calls this function
  const received = {};
  window.receiveAnswers = (name, content) => { received[name] = content; };
  const readFile = (name) => new Promise((resolve, reject) => {
    if (received[name]) {
      resolve(received[name]);
      return;
    }
    const element = make("script");
    element.src = `answers/${name}.js`;
    element.addEventListener("load", () => (received[name] ? resolve(received[name]) : reject()));
    element.addEventListener("error", reject);
    document.head.append(element);
  });

  // all answers of a cell: a field filters them, and a button shows more, so that thousands do not stand there at once
  const AT_ONCE = 50;
  const showAll = (answers, cases, all) => {
    const label = make("label", "filter", "Filter answers ");
    const field = make("input", "", undefined, label);
    field.type = "search";
    const count = make("output", "soft", "", label);
    const more = make("button", "close", "", undefined);
    more.type = "button";
    let matches = all;
    let shown = 0;
    const add = () => {
      const next = matches.slice(shown, shown + AT_ONCE).map((answer) => showCase(cases, answer));
      shown += next.length;
      count.textContent = ` ${shown} of ${matches.length} shown${matches.length < all.length ? `, of ${all.length}` : ""}`;
      more.hidden = shown >= matches.length;
      more.textContent = `Show ${Math.min(AT_ONCE, matches.length - shown)} more`;
      nameRegions();
      return next[0];
    };
    const restart = () => {
      const sought = field.value.trim().toLowerCase();
      matches = all.filter((answer) => answer.some((text) => text.toLowerCase().includes(sought)));
      cases.replaceChildren();
      shown = 0;
      add();
    };
    field.addEventListener("input", restart);
    more.addEventListener("click", () => {
      const first = add();
      first.tabIndex = -1;
      first.focus();
    });
    cases.before(label);
    cases.after(more);
    restart();
    field.focus();
  };

  const show = (answers, cell, heading, key, protocol) => {
    const [file, total] = examples.files[key] ?? [];
    const shown = lookUp(examples.cells[key] ?? [], examples.texts);
    answers.replaceChildren();
    answers.hidden = false;
    const bar = make("header", "", undefined, answers);
    const title = make(answers.dataset.heading, "", heading, bar);
    title.tabIndex = -1;
    const close = make("button", "close", "Close", bar);
    close.type = "button";
    close.addEventListener("click", () => {
      answers.hidden = true;
      cell.querySelector("button").focus();
    });
    const figures = make("ul", "figures", undefined, answers);
    cell.dataset.figures.split("; ").forEach((figure) => make("li", "", figure, figures));
    const number = file ? `${shown.length} of ${total} answers` : `${shown.length} ${shown.length === 1 ? "answer" : "answers"}`;
    title.focus({ preventScroll: true });
    answers.scrollIntoView({ block: "nearest" });
    if (answers.hasAttribute("data-figures-only")) return;
    const note = make("p", "soft", shown.length
      ? `${number}, those that fail first. The answer is by free generation under every protocol.`
      : "The page has no answers of this cell; all answers are in answers.csv.", answers);
    const cases = make("div", "cases", undefined, answers);
    shown.forEach((answer) => showCase(cases, answer));
    if (file) {
      const button = make("button", "close", `Show all ${total} answers`);
      button.type = "button";
      note.append(" ", button);
      button.addEventListener("click", () => readFile(file).then(({ texts, protocols }) => {
        note.textContent = "All answers, those that fail first. The answer is by free generation under every protocol.";
        showAll(answers, cases, lookUp(protocols[protocol] ?? [], texts));
      }, () => {
        note.textContent = `The file answers/${file}.js is not beside the page. Copy the folder answers with the page; all answers are also in answers.parquet.`;
        note.setAttribute("role", "alert");
      }));
    }
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
      const key = JSON.stringify([model, protocol, cell.dataset.method, cell.dataset.kind]);
      const label = table.closest(".view").querySelector(".protocol").textContent;
      const heading = `${columns[cell.cellIndex]}, ${kind.toLowerCase()}, ${label.toLowerCase()}`;
      cell.dataset.figures = cell.title;
      const button = make("button", "open", undefined, cell);
      button.type = "button";
      button.tabIndex = line === 0 && column === 0 ? 0 : -1;
      button.setAttribute("aria-label", `${heading}: ${cell.title}. ${answers.hasAttribute("data-figures-only") ? "Show figures" : "Show answers"}`);
      button.addEventListener("click", () => show(answers, cell, heading, key, protocol));
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

  // regions of one name, such as the same table of two models, also have the name of their heading, or a number
  const labels = new Set();
  const nameApart = (region, heading) => {
    const label = region.getAttribute("aria-label");
    const names = [label, `${label}: ${heading}`];
    for (let number = 2; labels.has(names[0]); number += 1) {
      names.shift();
      if (!names.length) names.push(`${label}: ${heading}, ${number}`);
    }
    region.setAttribute("aria-label", names[0]);
    labels.add(names[0]);
  };
  let heading = "";
  document.querySelectorAll("h1, h2, h3, h4, [role=region][aria-label]").forEach((element) => {
    if (element.hasAttribute("aria-label")) nameApart(element, heading);
    else heading = element.textContent.trim();
  });

  // what scrolls can be focused, so that the arrow keys scroll it
  const nameRegions = () => document.querySelectorAll(".turn, figure.card").forEach((box) => {
    if (box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1) return;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    if (box.hasAttribute("aria-label")) return;
    box.setAttribute("aria-label", box.querySelector("small, figcaption").textContent);
    nameApart(box, box.closest("article")?.querySelector("strong")?.textContent ?? heading);
  });
  nameRegions();
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(nameRegions, 200);
  });
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", nameRegions));
})();
