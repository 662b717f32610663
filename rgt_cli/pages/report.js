/* The page of `rgt upscale --report`: thousands of files, of which only those in the window are laid out. */
(() => {
  const { totals, rows } = JSON.parse(document.getElementById("data").textContent);
  const find = (selector) => document.querySelector(selector);
  const [list, detail, viewerRoot] = [".report", ".detail", ".viewer"].map(find);
  const [table, body, head] = [".table", ".rows", ".head"].map(find);
  const viewer = new Viewer(viewerRoot);
  const collator = new Intl.Collator("en", { numeric: true });
  const area = (size) => (size ? size[0] * size[1] : -1);

  /* Statuses in the order of their importance. */
  const STATUSES = { failed: "Failed", warned: "With warnings", done: "Done", planned: "Planned", skipped: "Skipped" };
  const RANKS = Object.keys(STATUSES);
  /* Title, order, and how a screen reader calls this order. */
  const SORTS = {
    status: ["Failures first", (a, b) => RANKS.indexOf(a.status) - RANKS.indexOf(b.status), "ascending"],
    source: ["Name", (a, b) => collator.compare(a.source, b.source), "ascending"],
    size: ["Size", (a, b) => area(b.targetSize) - area(a.targetSize), "descending"],
    seconds: ["Seconds", (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1), "descending"],
    worker: ["Worker", (a, b) => collator.compare(a.worker ?? "", b.worker ?? ""), "ascending"],
  };
  const hasWorkers = rows.some((row) => row.worker);
  const COLUMNS = [
    ["images", "Before, after", null], ["file", "File", "source"], ["notes", "Notes", "status"],
    ["size", "Size", "size"], ["seconds", "Time", "seconds"],
    ["worker", hasWorkers ? "Model, worker" : "Model", hasWorkers ? "worker" : null],
  ];
  const state = { status: "all", text: "", sort: "status", isReversed: false };
  const made = new Map(); /* Position in `shown` -> its element. */
  let shown = [];
  let frame = null;

  rows.forEach((row, index) => Object.assign(row, {
    index,
    haystack: [row.source, row.target, ...row.notes, row.model, row.worker].join("\n").toLowerCase(),
  }));

  function fillTotals() {
    const counts = new Map();
    for (const { status } of rows) counts.set(status, (counts.get(status) ?? 0) + 1);
    find(".totals").replaceChildren(...totals.map(([title, value]) => element(
      "div", {}, element("dt", { textContent: title }),
      element("dd", { textContent: typeof value === "number" ? value.toLocaleString("en") : value }),
    )));
    find("select.status").replaceChildren(
      element("option", { value: "all", textContent: `All files (${rows.length})` }),
      ...RANKS.filter((status) => counts.has(status)).map((status) => element(
        "option", { value: status, textContent: `${STATUSES[status]} (${counts.get(status)})` },
      )),
    );
    find("select.sort").replaceChildren(
      ...Object.entries(SORTS).filter(([key]) => key !== "worker" || hasWorkers)
        .map(([key, [title]]) => element("option", { value: key, textContent: title })),
    );
  }

  function fillHead() {
    head.replaceChildren(...COLUMNS.map(([name, title, sort]) => {
      const cell = element("span", { className: name, attributes: { role: "columnheader" } });
      if (!sort) {
        cell.textContent = title;
        return cell;
      }
      const isOn = state.sort === sort;
      const isAscending = (SORTS[sort][2] === "ascending") !== state.isReversed;
      if (isOn) cell.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
      const button = element("button", { type: "button", textContent: title });
      if (isOn) button.append(isAscending ? " \u25b2" : " \u25bc");
      button.addEventListener("click", () => {
        change({ sort, isReversed: isOn && !state.isReversed });
        [...head.children].find((each) => each.className === name).firstChild.focus();
      });
      cell.append(button);
      return cell;
    }));
  }

  /* Filter and sort again. */
  function change(values = {}) {
    Object.assign(state, values);
    const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
    const compare = SORTS[state.sort][1];
    const sign = state.isReversed ? -1 : 1;
    shown = rows
      .filter((row) => state.status === "all" || row.status === state.status)
      .filter((row) => words.every((word) => row.haystack.includes(word)))
      .sort((a, b) => sign * compare(a, b) || a.index - b.index);
    find("select.sort").value = state.sort;
    find(".direction").setAttribute("aria-pressed", state.isReversed);
    find(".count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    find(".empty").hidden = shown.length > 0;
    table.setAttribute("aria-rowcount", shown.length + 1);
    fillHead();
    body.replaceChildren();
    made.clear();
    render();
  }

  /* Lay out the rows in the window, and a few above and below; remove all others. */
  function render() {
    frame = null;
    if (list.hidden) return;
    const height = parseFloat(getComputedStyle(body).getPropertyValue("--row"));
    body.style.height = `${shown.length * height}px`;
    const above = -body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(above / height) - 4);
    const last = Math.min(shown.length, Math.ceil((above + innerHeight) / height) + 4);
    for (const [at, row] of made) {
      if ((at < first || at >= last) && !row.contains(document.activeElement)) {
        row.remove();
        made.delete(at);
      }
    }
    let next = null;
    for (let at = last - 1; at >= first; at -= 1) {
      if (!made.has(at)) {
        made.set(at, rowOf(shown[at], at));
        body.insertBefore(made.get(at), next);
      }
      next = made.get(at);
      next.style.transform = `translateY(${at * height}px)`;
    }
  }

  function later() {
    frame ??= requestAnimationFrame(render);
  }

  function rowOf(row, at) {
    const cell = (name, ...children) => element("span", { className: name, attributes: { role: "cell" } }, ...children);
    const soft = (text) => element("small", { className: "name", textContent: text ?? "" });
    const link = element("a", { className: "name", href: `#file-${row.index + 1}`, textContent: row.source });
    const images = element("a", { href: link.href, tabIndex: -1, attributes: { "aria-hidden": "true" } });
    for (const image of [row.before, row.after]) {
      images.append(image?.thumbnail
        ? element("img", { src: image.thumbnail, alt: "", decoding: "async" })
        : element("span", { className: "none" }));
    }
    const sizes = [row.sourceSize && pixels(row.sourceSize), row.targetSize && `to ${pixels(row.targetSize)}`];
    return element(
      "div", { className: `row ${row.status}`, attributes: { role: "row", "aria-rowindex": at + 2 } },
      cell("images", images),
      cell("file", link, soft(row.target)),
      cell("notes", element("b", { textContent: STATUSES[row.status] }), element("span", { textContent: row.notes.join("\n") })),
      cell("size", sizes.filter(Boolean).join(" ")),
      cell("seconds", row.seconds ? duration(row.seconds) : ""),
      cell("worker", row.model ?? "", soft(row.worker)),
    );
  }

  /* Show the file that the address names, or all files. */
  let scrolled = 0;
  function route() {
    const row = rows[Number(/^#file-(\d+)$/.exec(location.hash)?.[1]) - 1];
    if (!list.hidden) scrolled = scrollY;
    list.hidden = Boolean(row);
    detail.hidden = !row;
    viewerRoot.hidden = true;
    if (!row) {
      render();
      scrollTo(0, scrolled);
      return;
    }
    const facts = {
      Status: STATUSES[row.status], Notes: row.notes.join("\n"), Input: row.source, Output: row.target,
      Size: [row.sourceSize, row.targetSize].filter(Boolean).map(pixels).join(" to "),
      Frames: row.frames > 1 ? row.frames : null,
      Time: row.seconds ? duration(row.seconds) : null, Model: row.model, Worker: row.worker,
    };
    detail.className = `detail ${row.status}`;
    detail.querySelector("h2").textContent = row.source;
    detail.querySelector("dl").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(
      ([title, value]) => [element("dt", { textContent: title }), element("dd", { className: "name", textContent: value })],
    ));
    scrollTo(0, 0);
    detail.querySelector("a").focus({ preventScroll: true });
    if (row.before?.src && row.after?.src) compare(row);
  }

  async function compare(row) {
    let size = row.targetSize;
    if (!size) {
      const image = element("img", { src: row.after.src });
      try {
        await image.decode();
      } catch {
        return; /* the file no longer exists */
      }
      size = [image.naturalWidth, image.naturalHeight];
    }
    if (location.hash !== `#file-${row.index + 1}`) return;
    viewerRoot.hidden = false;
    viewer.open([{
      title: row.source, width: size[0], height: size[1], left: 0, right: 1,
      views: [
        { name: "before", src: row.before.src, details: row.sourceSize ? pixels(row.sourceSize) : "" },
        { name: "after", src: row.after.src, details: pixels(size) },
      ],
    }]);
  }

  find("select.status").addEventListener("change", (event) => change({ status: event.target.value }));
  find(".find").addEventListener("input", (event) => change({ text: event.target.value }));
  find("select.sort").addEventListener("change", (event) => change({ sort: event.target.value }));
  find(".direction").addEventListener("click", () => change({ isReversed: !state.isReversed }));
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  addEventListener("hashchange", route);
  history.scrollRestoration = "manual";
  fillTotals();
  change();
  route();
})();
