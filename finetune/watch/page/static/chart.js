"use strict";
// A Chart draws series of [step, value] points as SVG in a panel. What it is given is text and numbers of strangers: texts
// are only set as text.
class Chart {
  // name is of the panel, title and unit are shown, show writes a value, kinds maps the names of series to their look:
  // each (thin), mean (strong), held (dots).
  constructor(name, title, show, kinds) {
    this.kinds = kinds;
    this.show = show;
    this.series = new Map();
    const box = this.element = document.createElement("figure");
    box.className = "panel";
    box.dataset.name = name;
    box.chart = this; // for whoever looks at the numbers behind a drawing
    const head = Chart.add(box, "figcaption", "head");
    Chart.add(head, "h2").textContent = title;
    this.legend = Chart.add(head, "span", "legend");
    this.now = Chart.add(head, "span", "now");
    this.svg = box.appendChild(Chart.node("svg", { role: "img", tabindex: 0 }));
    this.readout = Chart.add(box, "p", "readout");
    this.at = null; // the step under the pointer
    this.svg.addEventListener("pointermove", (e) => this.point(e.offsetX));
    this.svg.addEventListener("pointerdown", (e) => this.point(e.offsetX));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (e) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (!by) return;
      e.preventDefault();
      const steps = this.steps();
      const i = this.at === null ? steps.length : steps.indexOf(this.at);
      if (steps.length) this.read(steps[Math.min(Math.max(i + by, 0), steps.length - 1)]);
    });
    // It is told of the first size too.
    new ResizeObserver(() => { if (this.svg.clientWidth !== this.width) this.draw(this.svg.clientWidth); }).observe(this.svg);
  }

  static add(to, tag, kind) {
    const e = to.appendChild(document.createElement(tag));
    if (kind) e.className = kind;
    return e;
  }

  static node(tag, attributes) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  }

  // set gives all points anew: a map of series' names to lists of [step, value], ascending. draw shows them.
  set(series) {
    this.series = series;
    const some = [...this.kinds].filter(([name]) => series.get(name)?.length);
    this.legend.replaceChildren();
    if (this.kinds.size > 1) for (const [name, kind] of some) Chart.add(this.legend, "span", kind).textContent = name;
    const main = [...series.values()].find((s) => s.length);
    this.now.textContent = main ? this.show(main[main.length - 1][1]) : "";
  }

  steps() {
    const all = new Set();
    for (const s of this.series.values()) for (const p of s) all.add(p[0]);
    return [...all].sort((a, b) => a - b);
  }

  draw(width) {
    this.width = width;
    const height = this.element.classList.contains("wide") ? 280 : 170;
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (const s of this.series.values()) for (const [x, y] of s) {
      x0 = Math.min(x0, x), x1 = Math.max(x1, x), y0 = Math.min(y0, y), y1 = Math.max(y1, y);
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    if (!(x0 <= x1) || !width) return this.svg.replaceChildren();
    if (x0 === x1) x1 = x0 + 1;
    // A flat line lies in the middle. Its mean differs in the last digits, between which there are no round numbers.
    const flat = y1 - y0 <= 1e-9 * Math.max(Math.abs(y0), Math.abs(y1));
    const room = flat ? Math.abs(y1) * 0.1 || 1 : (y1 - y0) * 0.06;
    y0 = y0 >= 0 && y0 < room ? 0 : y0 - room;
    y1 += room;
    const ticks = Chart.ticks(y0, y1, height / 32), labels = ticks.map((t) => this.show(t));
    const left = 10 + 6.6 * Math.max(...labels.map((l) => l.length)), right = width - 12, bottom = height - 22, top = 8;
    this.x = (x) => left + (x - x0) / (x1 - x0) * (right - left);
    const y = (v) => bottom - (v - y0) / (y1 - y0) * (bottom - top);
    const parts = [];
    ticks.forEach((t, i) => {
      parts.push(Chart.node("line", { class: "grid", x1: left, x2: right, y1: y(t), y2: y(t) }));
      const l = Chart.node("text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" });
      l.textContent = labels[i];
      parts.push(l);
    });
    for (const t of Chart.ticks(x0, x1, width / 90)) {
      if (t !== Math.round(t)) continue;
      const edge = this.x(t) > right - 16; // half of a number's width
      const l = Chart.node("text", { x: edge ? width - 2 : this.x(t), y: height - 6, "text-anchor": edge ? "end" : "middle" });
      l.textContent = t;
      parts.push(l);
    }
    for (const [name, points] of this.series) {
      const kind = this.kinds.get(name);
      const d = points.map(([a, b], i) => (i ? "L" : "M") + this.x(a).toFixed(1) + " " + y(b).toFixed(1)).join("");
      parts.push(Chart.node("path", { class: kind, d, "data-series": name }));
      // A line of one point cannot be seen.
      if (kind.includes("held") || points.length === 1) {
        for (const [a, b] of points) parts.push(Chart.node("circle", { class: kind, cx: this.x(a), cy: y(b), r: 3 }));
      }
    }
    this.cursor = Chart.node("line", { class: "cursor", y1: top, y2: bottom, x1: 0, x2: 0, visibility: "hidden" });
    parts.push(this.cursor);
    this.svg.replaceChildren(...parts);
    this.drawn ??= performance.now(); // milliseconds since the page was opened
    this.svg.setAttribute("aria-label", `${this.element.querySelector("h2").textContent} over steps ${x0} to ${x1}, now ${this.now.textContent}`);
    this.read(this.at);
  }

  // ticks gives about n round numbers between a and b.
  static ticks(a, b, n) {
    const rough = (b - a) / Math.max(n, 2), power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const out = [];
    for (let i = Math.ceil(a / step); i * step <= b; i++) out.push(Number((i * step).toPrecision(12)));
    return out;
  }

  // point reads the values of the step nearest to a place in the drawing.
  point(at) {
    if (!this.x) return;
    let best = null;
    for (const s of this.steps()) if (best === null || Math.abs(this.x(s) - at) < Math.abs(this.x(best) - at)) best = s;
    this.read(best);
  }

  read(step) {
    this.at = step;
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", step === null ? "hidden" : "visible");
    if (step === null) {
      this.readout.textContent = "";
      return;
    }
    this.cursor.setAttribute("x1", this.x(step));
    this.cursor.setAttribute("x2", this.x(step));
    const values = [];
    for (const [name, points] of this.series) {
      const p = points.find((p) => p[0] === step);
      if (p) values.push(this.kinds.size > 1 ? `${name} ${this.show(p[1])}` : this.show(p[1]));
    }
    this.readout.textContent = `step ${step}: ${values.join(", ")}`;
  }
}
