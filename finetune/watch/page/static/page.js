"use strict";
// The page follows one stream of events and draws what it says. Names, prompts, answers and settings come from models and
// files: they are only set as text.
(() => {
  const $ = (id) => document.getElementById(id);
  const add = Chart.add;
  let status = null, over = false;
  let lines = []; // objects of metrics.jsonl
  let samples = [];
  let every = 1;

  // How numbers are written.
  const round = (digits) => (x) => x.toFixed(digits);
  const short = (x) => {
    const a = Math.abs(x);
    if (a !== 0 && (a < 1e-3 || a >= 1e6)) return x.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
    return String(Number(x.toPrecision(4)));
  };
  const bytes = (n) => n >= 1e9 ? (n / 1e9).toFixed(2) + " GB" : n >= 1e6 ? (n / 1e6).toFixed(1) + " MB" : n >= 1e3 ? (n / 1e3).toFixed(1) + " kB" : n + " bytes";
  const time = (s) => {
    if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
    return s >= 60 ? `${Math.floor(s / 60)} min ${Math.floor(s) % 60} s` : `${Math.round(s)} s`;
  };
  const finite = (x) => typeof x === "number" && Number.isFinite(x);

  // Panels: one for each kind of figure; a method's own come as they are met.
  const fixed = ["step", "epoch", "loss", "lr", "grad_norm", "tokens", "counted_tokens", "tok_per_s", "peak_bytes", "eval_loss", "eval_perplexity"];
  const mostPanels = 40; // a method has 6 figures of its own
  const charts = new Map();

  function chart(name, title, show, kinds) {
    if (!charts.has(name)) {
      if (charts.size >= mostPanels) return null;
      const c = new Chart(name, title, show, new Map(kinds));
      charts.set(name, c);
      $("panels").append(c.element);
    }
    return charts.get(name);
  }

  const column = (key) => lines.filter((l) => finite(l[key])).map((l) => [l.step, l[key]]);

  // held is what was measured on held-out rows: of the untouched base at step 0, then after steps.
  function held(key) {
    const before = status?.start?.before?.[key];
    return (finite(before) ? [[0, before]] : []).concat(column(key));
  }

  // smooth is an exponential mean over about 20 steps, without the bias of a start at 0.
  function smooth(points) {
    let avg = 0, weight = 0;
    return points.map(([x, y]) => {
      avg = 0.95 * avg + 0.05 * y;
      weight = 0.95 * weight + 0.05;
      return [x, avg / weight];
    });
  }

  // A figure of single steps jumps; its mean shows where it goes.
  const kinds = [["each step", "each"], ["mean of 20 steps", "mean"], ["held out", "held"]];

  function figure(name, title, show, key, evalKey) {
    const points = column(key), after = evalKey ? held(evalKey) : [];
    if (!points.length && !after.length) return;
    const c = chart(name, title, show, kinds);
    c?.set(new Map([["each step", points], ["mean of 20 steps", smooth(points)], ["held out", after]]));
    c?.element.classList.toggle("wide", name === (rewarded() ? "own reward" : "loss"));
  }

  function plain(key, title, show) {
    const points = column(key);
    if (points.length) chart(key, title, show, [["value", "mean"]])?.set(new Map([["value", points]]));
  }

  // A run by rewards is told by them; its loss says little.
  const rewarded = () => lines.some((l) => finite(l.reward));

  function drawCharts() {
    const unit = status?.start?.unit;
    const names = new Map((status?.figures ?? []).map((f) => [f.name, f.title[0].toUpperCase() + f.title.slice(1)]));
    for (const l of lines) for (const k of Object.keys(l)) {
      const name = k.replace(/^eval_/, "");
      if (!fixed.includes(k) && !names.has(name)) names.set(name, name.replaceAll("_", " "));
    }
    const own = () => { for (const [name, title] of names) figure("own " + name, title, short, name, "eval_" + name); };
    if (rewarded()) own();
    figure("loss", "Loss" + (unit ? unit === "token" ? " (nats per counted token)" : ` (per ${unit})` : ""), round(4), "loss", rewarded() ? null : "eval_loss");
    if (!rewarded()) own();
    plain("lr", "Learning rate", short);
    figure("grad_norm", "Gradient norm", short, "grad_norm");
    figure("tok_per_s", "Speed (tok/s)", short, "tok_per_s");
    plain("peak_bytes", "Memory (most so far)", bytes);
  }

  function table(id, rows) {
    const box = $(id);
    box.hidden = !rows.length;
    box.querySelector("table").replaceChildren(...rows.map(([name, ...values]) => {
      const tr = document.createElement("tr");
      add(tr, "th").textContent = name;
      for (const v of values) add(tr, "td").textContent = v;
      return tr;
    }));
  }

  // left is the time left, by the last 50 steps; evaluations and samples come on top.
  function left() {
    const steps = status?.start?.steps, last = lines[lines.length - 1];
    if (!steps || !last || steps <= last.step || status.state !== "running") return null;
    const some = lines.slice(-50).filter((l) => l.tok_per_s > 0);
    return some.length ? some.reduce((sum, l) => sum + l.tokens / l.tok_per_s, 0) / some.length * (steps - last.step) : null;
  }

  function drawFigures() {
    const last = lines[lines.length - 1], steps = status?.start?.steps;
    const what = rewarded() ? "reward" : "loss", evals = held("eval_" + what);
    const out = [];
    const put = (name, x, show) => { if (finite(x)) out.push([name, show(x)]); };
    if (last || steps) out.push(["step", `${last?.step ?? 0}${steps ? "/" + steps : ""}`]);
    put(what, last?.[what], round(4));
    put("held-out " + what, evals[evals.length - 1]?.[1], round(4));
    put("time left", left(), (s) => "about " + (s < 60 ? time(s) : time(Math.round(s / 60) * 60).replace(" 0 s", "")));
    put("epoch", last?.epoch, round(2));
    if (what === "reward") for (const f of ["kl", "entropy", "signal"]) put(f, last?.[f], short);
    put("learning rate", last?.lr, short);
    put("gradient norm", last?.grad_norm, short);
    put("tok/s", last?.tok_per_s, round(0));
    put("memory", status?.report?.peak_bytes ?? last?.peak_bytes, bytes); // the report's has the check by llama.cpp too
    $("figures").replaceChildren(...out.map(([name, value]) => {
      const box = document.createElement("div");
      box.dataset.name = name;
      add(box, "dt").textContent = name;
      add(box, "dd").textContent = value;
      return box;
    }));
    $("progress").max = steps || 1;
    $("progress").value = last?.step ?? 0;
    $("progress").hidden = !steps;
    $("every").hidden = every === 1;
    $("every").textContent = `One step of ${every} is drawn, and every one that was evaluated.`;
    document.title = (last ? `${last.step}${steps ? "/" + steps : ""}: ${finite(last[what]) ? last[what].toFixed(4) : "no number"} – ` : "") + (status?.name ?? "ggtune");
  }

  const words = { preparing: "preparing", running: "running", stopping: "stopping: the state is being saved", stopped: "stopped", done: "done" };

  function drawStatus() {
    const s = status, start = s.start, r = s.report;
    $("name").textContent = s.name;
    const state = $("state");
    state.dataset.state = over ? "gone" : s.state;
    state.textContent = over ? `${words[s.state]}; ggtune has ended` : words[s.state] + (s.activity ? ": " + s.activity : "");
    $("stop").hidden = over || s.state !== "running";
    $("continue").hidden = over || s.state !== "stopped" || !s.settings;
    say([s.failed, ...s.faults].filter(Boolean).join("\n"));
    const held = s.counts?.some((c) => c.held !== null);
    table("data", (held ? [["", "training", "held out"]] : []).concat((s.counts ?? []).map((c) => [c.name, c.train, ...(held ? [c.held] : [])])));
    table("about", start ? [["model", `${start.model} (${start.arch}; ${start.types})`], ["method", start.method],
      ...(start.template ? [["template", start.template]] : []), ["trained", `${start.parameters} parameters`],
      ["planned", `${bytes(start.planned_bytes)} beside the model file`], ["threads", start.threads]] : []);
    table("result", r ? [["written", `${r.result} (step ${r.result_step})`], ["training", `${r.steps} steps in ${time(r.seconds)}`],
      ...["reward", "loss"].filter((k) => k !== "loss" || !finite(r.eval_reward_after)).filter((k) => finite(r[`eval_${k}_before`]) && finite(r[`eval_${k}_after`])).map((k) =>
        ["held-out " + k, `${r[`eval_${k}_before`].toFixed(4)} before, ${r[`eval_${k}_after`].toFixed(4)} after`]),
      ...(r.mixed ?? []).filter((m) => finite(m.eval_loss_before) && finite(m.eval_loss_after)).map((m) =>
        [`held out of ${m.file}`, `loss ${m.eval_loss_before.toFixed(4)} before, ${m.eval_loss_after.toFixed(4)} after`]),
      ...["reward", "loss"].filter((k) => k !== "loss" || !finite(r.first_tenth_reward)).filter((k) => finite(r[`first_tenth_${k}`])).map((k) =>
        ["training " + k, `${r[`first_tenth_${k}`].toFixed(4)} → ${r[`last_tenth_${k}`].toFixed(4)} (means of ${r.tenth_steps} steps)`]),
      ...(r.general ? [["general text", `loss ${r.general.loss_before.toFixed(4)} before, ${r.general.loss_after.toFixed(4)} after; KL from the base ${short(r.general.kl)} nats`]] : []),
      ...(finite(r.llama_cpp_rms_diff) ? [["llama.cpp", `computes the same: logits differ by ${short(r.llama_cpp_rms_diff)} (root mean square)`]] : [])] : []);
    $("notes").hidden = !start?.notes?.length;
    $("notes").querySelector("ul").replaceChildren(...(start?.notes ?? []).map((n) => {
      const li = document.createElement("li");
      li.textContent = n;
      return li;
    }));
    $("settings").hidden = !s.settings;
    $("settings").querySelector("pre").textContent = s.settings;
  }

  // Samples, of one step at a time: the newest, or the one that was chosen.
  let chosen = "";
  function drawSamples() {
    const steps = [...new Set(samples.map((s) => s.step))];
    $("samples").hidden = !steps.length;
    if (!steps.length) return;
    const pick = $("sample-step"), step = steps.find((s) => String(s) === chosen) ?? steps[steps.length - 1];
    pick.replaceChildren(...steps.map((s) => new Option(String(s), String(s), false, s === step)));
    const side = (to, title, text, end, tokens) => {
      const box = add(to, "div");
      add(box, "h3").textContent = title + (end === "length" || end === "context" ? `, cut off after ${tokens} tokens` : "");
      const p = add(box, "p", "text");
      if (typeof text === "string" && text !== "") {
        p.textContent = text;
      } else {
        p.className = "text empty";
        p.textContent = text === "" ? "(an empty answer)" : "(none)";
      }
    };
    $("sample-list").replaceChildren(...samples.filter((s) => s.step === step).map((s) => {
      const box = document.createElement("div");
      box.className = "sample";
      add(box, "p", "text").textContent = typeof s.prompt === "string" ? s.prompt : JSON.stringify(s.prompt);
      const sides = add(box, "div", "sides");
      if (finite(s.reward)) { // an answer that the model learns from, which the base was not asked for
        const parts = Object.entries(s.rewards ?? {}).filter(([, x]) => finite(x)).map(([name, x]) => `${name} ${short(x)}`);
        const worth = `${s.why}, worth ${short(s.reward)}${parts.length ? ` (${parts.join(", ")})` : ""}`;
        if (Array.isArray(s.exchange) && s.exchange.length) {
          sides.className = "turns";
          add(sides, "h3").textContent = worth;
          for (const t of s.exchange) {
            side(sides, t.role + (finite(t.reward) ? `: ${short(t.reward)}` : "") + (t.over ? `, and the exchange ended: ${t.over}` : ""), t.content);
          }
        } else {
          side(sides, worth, s.tuned, s.tuned_end, s.tuned_tokens);
        }
      } else {
        side(sides, "base", s.base, s.base_end, s.base_tokens);
        side(sides, "tuned", s.tuned, s.tuned_end, s.tuned_tokens);
      }
      if (typeof s.expected === "string") side(sides, "in the data", s.expected);
      return box;
    }));
  }
  $("sample-step").addEventListener("change", (e) => {
    chosen = e.target.selectedIndex === e.target.options.length - 1 ? "" : e.target.value;
    drawSamples();
  });

  function say(text) {
    $("notice").textContent = text;
    $("notice").hidden = !text;
  }

  async function wish(what, button) {
    button.disabled = true;
    try {
      const r = await fetch(what, { method: "POST", cache: "no-store", credentials: "same-origin" });
      if (!r.ok) say(await r.text());
    } catch {
      say("ggtune does not answer. What the run has written is in its directory.");
    }
    button.disabled = false;
  }
  $("stop").addEventListener("click", (e) => wish("stop", e.target));
  $("continue").addEventListener("click", (e) => wish("continue", e.target));

  let planned = false;
  function draw() {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      drawFigures();
      drawCharts();
      // All sizes are asked for before anything is drawn: each question after a change would lay the page out again.
      const all = [...charts.values()], widths = all.map((c) => c.svg.clientWidth);
      all.forEach((c, i) => c.draw(widths[i]));
    });
  }

  const events = new EventSource("events");
  let first = true; // of a stream, which begins with all there is
  events.onopen = () => { first = true; };
  events.onmessage = (e) => {
    const news = JSON.parse(e.data);
    if (first) lines = [], samples = [], first = false;
    over = news.over;
    if (over) events.close();
    if (news.status) status = news.status;
    if (status && (news.status || over)) drawStatus();
    if (news.metrics) {
      every = news.metrics.every;
      lines = lines.filter((l) => l.step <= news.metrics.after).concat(news.metrics.lines);
    }
    if (news.samples) {
      samples = samples.slice(0, news.samples.from).concat(news.samples.lines);
      drawSamples();
    }
    draw();
  };
  events.onerror = () => {
    if (over || !status) return;
    $("state").dataset.state = "gone";
    $("state").textContent = "ggtune does not answer; what the run has written is in its directory";
    $("stop").hidden = $("continue").hidden = true;
  };
})();
