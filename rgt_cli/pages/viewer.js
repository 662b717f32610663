/* The place that all images show: the zoom, and the point of the image in the middle of each box. */
class Camera {
  constructor(width, height) {
    Object.assign(this, { width, height, x: width / 2, y: height / 2 });
    this.zoom = null; /* Pixels of the screen for each pixel of the image; null shows the whole image. */
  }

  /* Return the zoom at which the whole image fits into a box. */
  fit(box) {
    const scale = Math.min(box.clientWidth / this.width, box.clientHeight / this.height);
    return Math.min(scale * devicePixelRatio, Camera.MOST) || 1;
  }

  zoomIn(box) {
    return this.zoom ?? this.fit(box);
  }

  /* Return how many CSS pixels a pixel of the image fills. */
  scale(box) {
    return this.zoomIn(box) / devicePixelRatio;
  }

  fits(box) {
    const scale = this.scale(box);
    return this.width * scale <= box.clientWidth + 1 && this.height * scale <= box.clientHeight + 1;
  }

  /* Return the middle of a box, as far as the image reaches beyond its edges. */
  middle(box) {
    const scale = this.scale(box);
    const within = (value, side, room) => {
      const half = room / scale / 2;
      return side <= 2 * half ? side / 2 : Math.min(Math.max(value, half), side - half);
    };
    return {
      x: within(this.x, this.width, box.clientWidth),
      y: within(this.y, this.height, box.clientHeight),
    };
  }

  /* Move by CSS pixels of a box. */
  pan(box, right, down) {
    const scale = this.scale(box);
    const middle = this.middle(box);
    this.x = middle.x + right / scale;
    this.y = middle.y + down / scale;
    Object.assign(this, this.middle(box));
  }

  /* Change the zoom; what is at `x` and `y`, in CSS pixels from the middle of the box, stays there. */
  zoomTo(box, zoom, x = 0, y = 0) {
    const before = this.scale(box);
    const middle = this.middle(box);
    const fit = this.fit(box);
    const within = Math.min(Math.max(zoom ?? fit, Math.min(fit, 1)), Camera.MOST);
    this.zoom = Math.abs(within / fit - 1) < 0.001 ? null : within; /* a small image may be below its fit */
    const after = this.scale(box);
    this.x = middle.x + x / before - x / after;
    this.y = middle.y + y / before - y / after;
    Object.assign(this, this.middle(box));
  }

  /* Go to the next or the previous one of fit, 1:1, 2:1, 4:1 and 8:1. */
  step(box, direction) {
    const now = this.zoomIn(box);
    const stops = [this.fit(box), 1, 2, 4, 8].sort((a, b) => a - b);
    const next = direction > 0
      ? stops.find((stop) => stop > now * 1.01)
      : stops.findLast((stop) => stop < now * 0.99);
    if (next !== undefined) this.zoomTo(box, next);
  }
}
Camera.MOST = 8;

/* One image in a box. */
class Pane {
  constructor(box) {
    this.box = box;
    this.image = element("img", { draggable: false, alt: "" });
  }

  show(view, camera) {
    this.view = view;
    if (this.image.getAttribute("src") !== view.src) this.image.src = view.src;
    this.image.alt = view.name;
    if (!this.image.isConnected) this.box.append(this.image);
    this.image.style.width = `${camera.width}px`;
    this.image.style.height = `${camera.height}px`;
  }

  draw(camera) {
    const { box, image } = this;
    const scale = camera.scale(box);
    const { x, y } = camera.middle(box);
    const snap = (value) => Math.round(value * devicePixelRatio) / devicePixelRatio;
    const left = snap(box.clientWidth / 2 - x * scale);
    const top = snap(box.clientHeight / 2 - y * scale);
    image.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    image.classList.toggle("pixels", Boolean(this.view?.pixels) || camera.zoomIn(box) >= 1);
    box.classList.toggle("fits", camera.fits(box));
    box.classList.toggle("pans", !camera.fits(box));
  }
}

/* Images of one size, two under a divider or all in a grid. */
class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.stage = this.find(".stage");
    this.left = new Pane(this.find(".pane.left"));
    this.right = new Pane(this.find(".pane.right"));
    this.divider = this.find(".divider");
    this.split = 0.5;
    this.isGrid = false;
    this.hidden = new Set(); /* Names of the images that the grid leaves out. */
    this.tiles = [];
    this.connect();
  }

  /* Show scenes: {title, width, height, views: [{name, src, pixels, details, facts}], left, right}. */
  open(scenes) {
    this.scenes = scenes;
    this.find(".scenes").hidden = scenes.length < 2;
    this.find(".scenes select").replaceChildren(
      ...scenes.map((scene, at) => element("option", { value: at, textContent: scene.title })),
    );
    this.camera = null;
    this.hidden = new Set(scenes[0].views.filter((view) => view.hidden).map((view) => view.name));
    this.openScene(0, scenes[0].left, scenes[0].right);
  }

  openScene(index, left = this.leftIndex, right = this.rightIndex) {
    const scene = this.scenes[index];
    this.index = index;
    this.scene = scene;
    if (this.camera?.width !== scene.width || this.camera?.height !== scene.height) {
      this.camera = new Camera(scene.width, scene.height);
    }
    this.find(".scenes select").value = index;
    for (const side of ["left", "right"]) {
      this.find(`select.${side}`).replaceChildren(
        ...scene.views.map((view, at) => element("option", { value: at, textContent: view.name })),
      );
    }
    this.showFacts();
    this.fillGrid();
    this.choose(left, right);
  }

  /* Put two images under the divider. */
  choose(left, right) {
    const { views } = this.scene;
    Object.assign(this, { leftIndex: left, rightIndex: right });
    for (const [side, index] of [["left", left], ["right", right]]) {
      this[side].show(views[index], this.camera);
      this.find(`select.${side}`).value = index;
      this.find(`.caption.${side}`).replaceChildren(
        views[index].name, element("span", { textContent: views[index].details }),
      );
    }
    this.redraw();
  }

  setSplit(split) {
    this.split = Math.min(Math.max(split, 0), 1);
    this.redraw();
  }

  setLayout(isGrid) {
    this.isGrid = isGrid;
    this.stage.hidden = isGrid;
    this.find(".grid").hidden = this.find(".chosen").hidden = !isGrid;
    this.find(".sides").hidden = isGrid;
    this.find(".layout").setAttribute("aria-pressed", isGrid);
    this.fillGrid();
    this.redraw();
  }

  fillGrid() {
    const { views, width, height } = this.scene;
    if (!this.isGrid) {
      this.tiles = [];
      this.find(".grid").replaceChildren();
      return;
    }
    const shown = views.filter((view) => !this.hidden.has(view.name));
    this.tiles = shown.map((view) => {
      const box = element("div", { className: "pane" });
      box.style.setProperty("--shape", `${width} / ${height}`);
      const figure = element("figure", { className: "tile" }, box, element(
        "figcaption", {}, element("b", { className: "name", textContent: view.name }),
        element("span", { textContent: view.details }),
      ));
      const pane = new Pane(box);
      pane.show(view, this.camera);
      this.connectPane(box);
      return { figure, pane };
    });
    this.find(".grid").replaceChildren(...this.tiles.map((tile) => tile.figure));
    this.find(".chosen").replaceChildren(...views.map((view) => {
      const button = element("button", {
        type: "button", textContent: view.name,
        attributes: { "aria-pressed": !this.hidden.has(view.name) },
      });
      button.addEventListener("click", () => this.toggle(view.name));
      return button;
    }));
  }

  /* Leave an image out of the grid, or show it again; the last one stays. */
  toggle(name) {
    const { views } = this.scene;
    if (this.hidden.has(name)) this.hidden.delete(name);
    else if (views.filter((view) => !this.hidden.has(view.name)).length > 1) this.hidden.add(name);
    this.fillGrid();
    [...this.find(".chosen").children].find((button) => button.textContent === name)?.focus();
    this.redraw();
  }

  showFacts() {
    const { views, title, columns = [] } = this.scene;
    const best = columns.map((column) => {
      const values = views.filter((view) => !view.isTruth).map((view) => view.facts?.[column.key]);
      return column.best ? Math.max(...values.filter((value) => value !== undefined)) : null;
    });
    const measured = views.filter((view) => columns.some((column) => view.facts?.[column.key] !== undefined));
    const cell = (view, column, at) => {
      const value = view.facts?.[column.key];
      if (value === undefined) return element("td");
      const text = column.key === "seconds" ? duration(value) : value.toFixed(column.digits);
      return element("td", {}, value === best[at] && !view.isTruth ? element("strong", { textContent: text }) : text);
    };
    this.find(".facts").hidden = !columns.length;
    this.find(".facts").replaceChildren(element(
      "table", {}, element("caption", { textContent: this.scenes.length > 1 ? `Figures at ${title}` : "Figures" }),
      element("thead", {}, element(
        "tr", {}, element("th", { scope: "col", textContent: "Image" }),
        ...columns.map((column) => element("th", { scope: "col", textContent: column.title })),
      )),
      element("tbody", {}, ...measured.map((view) => element(
        "tr", {}, element("th", { scope: "row", className: "name", textContent: view.name }),
        ...columns.map((column, at) => cell(view, column, at)),
      ))),
    ));
  }

  /* The box that zooming by keys and buttons refers to. */
  get box() {
    return this.isGrid ? this.tiles[0].pane.box : this.stage;
  }

  get isShown() {
    return Boolean(this.scene) && this.root.offsetParent !== null;
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.isShown) this.draw();
    });
  }

  draw() {
    const { camera, stage, split, divider } = this;
    if (this.isGrid) {
      for (const { pane } of this.tiles) pane.draw(camera);
    } else {
      this.left.draw(camera);
      this.right.draw(camera);
      this.left.box.style.clipPath = `inset(0 ${100 - 100 * split}% 0 0)`;
      this.right.box.style.clipPath = `inset(0 0 0 ${100 * split}%)`;
      stage.classList.toggle("fits", camera.fits(stage));
      stage.classList.toggle("pans", !camera.fits(stage));
      const percent = Math.round(100 * split);
      divider.style.left = `${100 * split}%`;
      divider.setAttribute("aria-valuenow", percent);
      divider.setAttribute(
        "aria-valuetext", `${percent} % ${this.left.view.name}, ${100 - percent} % ${this.right.view.name}`,
      );
    }
    const zoom = camera.zoomIn(this.box);
    this.find("output").textContent = `${Math.round(100 * zoom)} %`;
    for (const button of this.root.querySelectorAll("[data-zoom]")) {
      const value = button.dataset.zoom;
      if (value === "in" || value === "out") continue;
      const isOn = value === "fit" ? camera.zoom === null : camera.zoom === Number(value);
      button.setAttribute("aria-pressed", isOn);
    }
  }

  zoom(value) {
    const { camera, box } = this;
    if (value === "in") camera.step(box, 1);
    else if (value === "out") camera.step(box, -1);
    else camera.zoomTo(box, value === "fit" ? null : Number(value));
    this.redraw();
  }

  connect() {
    this.find(".scenes select").addEventListener("change", (event) => this.openScene(Number(event.target.value)));
    this.find("select.left").addEventListener("change", (event) => this.choose(Number(event.target.value), this.rightIndex));
    this.find("select.right").addEventListener("change", (event) => this.choose(this.leftIndex, Number(event.target.value)));
    this.find(".swap").addEventListener("click", () => this.choose(this.rightIndex, this.leftIndex));
    this.find(".layout").addEventListener("click", () => this.setLayout(!this.isGrid));
    this.find(".help").addEventListener("click", () => this.find("dialog").showModal());
    for (const button of this.root.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    }
    this.connectPane(this.stage);
    this.connectDivider();
    for (const place of [this.stage, this.find(".grid")]) {
      place.addEventListener("keydown", (event) => this.onArrow(event));
    }
    document.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.redraw()).observe(this.root);
    addEventListener("resize", () => this.redraw());
  }

  connectDivider() {
    const { divider } = this;
    const follow = (event) => {
      const { left, width } = this.stage.getBoundingClientRect();
      this.setSplit((event.clientX - left) / width);
    };
    divider.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.stopPropagation();
      divider.setPointerCapture(event.pointerId);
    });
    divider.addEventListener("pointermove", (event) => {
      if (divider.hasPointerCapture(event.pointerId)) follow(event);
    });
    divider.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.01;
      const moved = {
        ArrowLeft: this.split - step, ArrowDown: this.split - step, ArrowRight: this.split + step,
        ArrowUp: this.split + step, PageDown: this.split - 0.1, PageUp: this.split + 0.1, Home: 0, End: 1,
      }[event.key];
      if (moved === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.setSplit(moved);
    });
  }

  /* Pan, zoom, and move the divider with a mouse, a pen or fingers in a box. */
  connectPane(box) {
    const pointers = new Map();
    let action = null;
    let hasMoved = false;
    const offset = (x, y) => {
      const { left, top } = box.getBoundingClientRect();
      return [x - left - box.clientWidth / 2, y - top - box.clientHeight / 2];
    };
    const spread = () => {
      const [a, b] = [...pointers.values()];
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, length: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
    };
    const splitAt = (x) => {
      if (box === this.stage) this.setSplit(offset(x, 0)[0] / box.clientWidth + 0.5);
    };
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      box.setPointerCapture(event.pointerId);
      hasMoved = pointers.size > 1;
      action = this.camera.fits(box) ? "split" : "pan";
    });
    box.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const before = pointers.size === 2 ? spread() : null;
      const [right, down] = [event.clientX - last.x, event.clientY - last.y];
      if (!before && !hasMoved && Math.hypot(right, down) < 3) return;
      hasMoved = true;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (before) {
        const after = spread();
        this.camera.pan(box, before.x - after.x, before.y - after.y);
        const ratio = after.length / before.length;
        this.camera.zoomTo(box, this.camera.zoomIn(box) * ratio, ...offset(after.x, after.y));
      } else if (action === "pan") {
        this.camera.pan(box, -right, -down);
      } else {
        splitAt(event.clientX);
      }
      this.redraw();
    });
    box.addEventListener("pointerup", (event) => {
      if (pointers.delete(event.pointerId) && !hasMoved) splitAt(event.clientX);
    });
    box.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    box.addEventListener("wheel", (event) => {
      if (event.deltaY > 0 && this.camera.zoom === null && !event.ctrlKey) return; /* scroll the page */
      event.preventDefault();
      const lines = event.deltaMode ? 30 : 1;
      const factor = Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002));
      const at = offset(event.clientX, event.clientY);
      this.camera.zoomTo(box, this.camera.zoomIn(box) * factor, ...at);
      this.redraw();
    }, { passive: false });
  }

  onArrow(event) {
    const step = event.shiftKey ? 200 : 40;
    const [right, down] = {
      ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
    }[event.key] ?? [0, 0];
    if ((!right && !down) || this.camera.fits(this.box)) return;
    event.preventDefault();
    this.camera.pan(this.box, right, down);
    this.redraw();
  }

  onKey(event) {
    const isTyping = event.target.closest?.("select, input, textarea, dialog[open]");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !this.isShown) return;
    const others = this.scene.views.length;
    const action = {
      "+": () => this.zoom("in"), "=": () => this.zoom("in"), "-": () => this.zoom("out"),
      0: () => this.zoom("fit"), 1: () => this.zoom(1), 2: () => this.zoom(2), 4: () => this.zoom(4),
      8: () => this.zoom(8),
      s: () => this.choose(this.rightIndex, this.leftIndex),
      g: () => this.setLayout(!this.isGrid),
      "[": () => this.choose(this.leftIndex, (this.rightIndex + others - 1) % others),
      "]": () => this.choose(this.leftIndex, (this.rightIndex + 1) % others),
      n: () => this.index + 1 < this.scenes.length && this.openScene(this.index + 1),
      p: () => this.index > 0 && this.openScene(this.index - 1),
      "?": () => this.find("dialog").showModal(),
    }[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
