"use strict";
// The page asks now and then for all runs and lays their losses over each other. Names come from files: they are only set
// as text.
(() => {
  const $ = (id) => document.getElementById(id);
  const again = 5000; // milliseconds
  const number = (x) => x.toFixed(4);
  const charts = new Map();

  function draw(runs) {
    const names = runs.map((r) => r.path);
    // A run by rewards is drawn by them.
    const what = runs.every((r) => r.rewards) ? "reward" : runs.some((r) => r.rewards) ? "loss, or reward" : "loss";
    for (const [key, title, dots] of [["held", `Held-out ${what}`, true], ["loss", `Training ${what}, mean of 20 steps`, false]]) {
      const some = runs.some((r) => r[key].length);
      if (!charts.has(key) && some) {
        const c = new Chart(key, title, number, new Map(names.map((n, i) => [n, (dots ? "held " : "") + "run" + i])));
        c.element.classList.add("wide");
        c.now.hidden = true; // whose would it be?
        charts.set(key, c);
        $("panels").append(c.element);
      }
      charts.get(key)?.set(new Map(runs.map((r) => [r.path, r[key]])));
    }
    for (const c of charts.values()) c.draw(c.svg.clientWidth);
    const known = (x) => typeof x === "number" ? number(x) : "–";
    const row = (cell, values, kind) => {
      const tr = document.createElement("tr");
      values.forEach((v, i) => {
        const td = tr.appendChild(document.createElement(cell));
        if (i === 0 && kind) Chart.add(td, "span", "swatch " + kind);
        td.append(v);
      });
      return tr;
    };
    $("runs").querySelector("table").replaceChildren(
      row("th", ["run", "state", "method", "model", "steps", "loss", "held out"]),
      ...runs.map((r, i) => row("td", [r.path, r.state, r.method, r.model.split(/[\\/]/).pop(), r.steps === null ? String(r.step) : `${r.step}/${r.steps}`,
        r.rewards ? `reward ${known(r.rewards.first_tenth)} → ${known(r.rewards.last_tenth)}` : `${known(r.first_tenth_loss)} → ${known(r.last_tenth_loss)}`,
        r.rewards ? `${known(r.rewards.eval_before)} → ${known(r.rewards.eval)}` : `${known(r.eval_loss_before)} → ${known(r.eval_loss)}`], "run" + i)));
    const faults = runs.flatMap((r) => r.faults);
    say(faults.join("\n"));
  }

  function say(text) {
    $("notice").textContent = text;
    $("notice").hidden = !text;
  }

  let last = "";
  async function look() {
    try {
      const r = await fetch("data", { cache: "no-store", credentials: "same-origin" });
      const text = await r.text();
      if (!r.ok) say(text);
      else if (text !== last) draw(JSON.parse(last = text));
    } catch {
      say("ggtune does not answer; what is shown is what was known last.");
      last = "";
    }
    setTimeout(look, again);
  }
  look();
})();
