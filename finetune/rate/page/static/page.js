"use strict";
// The page works as plain forms. This adds keys, texts that grow while they are written, and news from other windows.
// All HTML comes from the server, escaped there; here texts are only set as text.
(() => {
  // A key this soon after a pair came up was meant for the one before.
  const slip = 300; // milliseconds
  let since = performance.now();
  let busy = false;

  const view = () => document.getElementById("view");
  const base = view().dataset.base;

  function say(text) {
    const n = document.getElementById("notice");
    n.textContent = text;
    n.hidden = !text;
  }

  // replace puts the server's page in the place of this one, and keeps what is being typed.
  function replace(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const next = page.getElementById("view");
    if (!next) {
      say(page.querySelector("main")?.textContent.trim().replace(/\s+/g, " ") || "ggtune does not answer as it should; reload the page.");
      return;
    }
    const old = view();
    const other = old.dataset.id !== next.dataset.id;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    for (const id of other ? ["ask"] : ["ask", "edit"]) {
      const from = old.querySelector("#" + id), to = next.querySelector("#" + id);
      if (!from || !to) continue;
      to.open ||= from.open && !from.dataset.sent;
      from.querySelectorAll("textarea").forEach((t) => {
        const twin = next.querySelector("#" + t.id);
        if (twin && t.value !== t.defaultValue && !from.dataset.sent) twin.value = t.value;
      });
    }
    old.replaceWith(document.adoptNode(next));
    document.title = page.title;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (other) {
      since = performance.now();
      window.scrollTo(0, 0);
    }
    readyGrips();
    countDown();
  }

  async function load(path, options) {
    try {
      const r = await fetch(base + path, { cache: "no-store", credentials: "same-origin", ...options });
      replace(await r.text());
      return r.ok;
    } catch {
      gone();
      return false;
    }
  }

  function gone() {
    if (view().dataset.over === "true") return;
    say("ggtune has ended or does not answer. What you rated is saved: start `ggtune rate` again with the same -o and open the address it prints.");
  }

  // post sends a form once: a second press while the first is under way is none.
  async function post(form, button) {
    if (busy) return;
    busy = true;
    const fields = new URLSearchParams(new FormData(form, button));
    const details = form.closest("details");
    if (details) details.dataset.sent = "yes";
    const ok = await load(new URL(form.action).pathname.slice(base.length), { method: "POST", body: fields });
    if (!ok && details) delete details.dataset.sent;
    busy = false;
  }

  document.addEventListener("submit", (e) => {
    e.preventDefault();
    post(e.target, e.submitter);
  });

  // value gives an answer a number by a key: of an order the answer's number is typed, best first, of stars the next
  // answer's stars. It says whether the key meant that.
  function value(key) {
    const sets = [...view().querySelectorAll(".values:not([disabled])")];
    if (!sets.length || performance.now() - since <= slip) return false;
    const given = (s) => s.querySelector("input:checked");
    const stars = view().querySelector("[name=choice][value=stars]");
    if (key === "backspace") {
      const values = sets.filter(given);
      const last = stars ? values.at(-1) : values.sort((a, b) => given(a).value - given(b).value).at(-1);
      if (last) given(last).checked = false;
      return true;
    }
    if (!stars && /^[a-d]$/.test(key)) key = String("abcd".indexOf(key) + 1);
    if (!/^[1-9]$/.test(key)) return false;
    if (stars) {
      const next = sets.find((s) => !given(s)) || sets.at(-1);
      const star = next.querySelector(`input[value="${key}"]`);
      if (star) star.checked = true;
      return true;
    }
    const at = sets.find((s) => s.dataset.answer === key);
    if (at && !given(at)) {
      const ranks = sets.filter(given).map((s) => Number(given(s).value));
      at.querySelector(`input[value="${Math.min(sets.length, Math.max(0, ...ranks) + 1)}"]`).checked = true;
    }
    return true;
  }

  // Answers may be put in order by dragging, or by arrow keys on their grips. The places are then their ranks. Until the
  // first is moved they say nothing, because the page chose them.
  const grips = () => [...view().querySelectorAll(".grip")];

  function readyGrips() {
    const on = view().dataset.ready === "true";
    for (const g of grips()) g.disabled = !on;
    view().querySelectorAll(".dragging").forEach((e) => { e.hidden = !on; });
  }

  function rankByPlace() {
    view().querySelectorAll(".answers > article").forEach((a, i) => {
      a.querySelector(`.values input[value="${i + 1}"]`).checked = true;
    });
  }

  // move puts an article where another stands. Those between make room: the moved one itself must stay in the document,
  // or finger and focus would lose it.
  function move(article, to) {
    const all = [...article.parentElement.children], from = all.indexOf(article), at = all.indexOf(to);
    if (from < at) article.before(...all.slice(from + 1, at + 1));
    else article.after(...all.slice(at, from));
    rankByPlace();
  }

  let held = null; // the article that is dragged
  document.addEventListener("pointerdown", (e) => {
    const grip = e.target.closest?.(".grip:not([disabled])");
    if (!grip || e.button !== 0 || performance.now() - since <= slip) return;
    e.preventDefault();
    held = grip.closest("article");
    held.classList.add("moving");
  });
  document.addEventListener("pointermove", (e) => {
    if (!held) return;
    if (!held.isConnected) return drop(); // the page has changed under it
    const over = document.elementFromPoint(e.clientX, e.clientY)?.closest(".answers > article");
    if (!over || over === held) return;
    // Of two of different sizes the one would slip under the pointer again at once.
    const a = over.getBoundingClientRect(), b = held.getBoundingClientRect();
    const beside = Math.abs(a.top - b.top) < 1, x = e.clientX - a.left, y = e.clientY - a.top;
    const later = beside ? a.left > b.left : a.top > b.top;
    const [at, size] = beside ? [x, Math.min(a.width, b.width)] : [y, Math.min(a.height, b.height)];
    const whole = beside ? a.width : a.height;
    if (later ? at >= whole - size : at <= size) move(held, over);
  });
  function drop() {
    held?.classList.remove("moving");
    held = null;
  }
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);

  // nudge moves an answer by a key on its grip. It says whether the key meant that.
  function nudge(grip, key) {
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[key];
    if (!by) return false;
    const article = grip.closest("article"), all = [...article.parentElement.children];
    const to = all[all.indexOf(article) + by];
    if (to) move(article, to);
    else rankByPlace();
    say(`Order: ${[...article.parentElement.children].map((a) => a.querySelector("h2").textContent).join(", ")}`);
    return true;
  }

  function leave(box) {
    const d = box.closest("details");
    box.blur();
    if (d) d.open = false;
  }

  document.addEventListener("keydown", (e) => {
    const typing = e.target.closest?.("textarea");
    if (typing) {
      if (e.key === "Escape") leave(typing);
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        typing.parentElement.querySelector("button")?.click();
      }
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing || busy) return;
    const grip = e.target.closest?.(".grip");
    if (grip && nudge(grip, e.key)) {
      e.preventDefault();
      return;
    }
    if (e.repeat) return;
    const key = e.key.toLowerCase();
    if (value(key)) {
      e.preventDefault();
      return;
    }
    for (const b of view().querySelectorAll("[data-key]")) {
      if (!b.dataset.key.split(" ").includes(key)) continue;
      e.preventDefault();
      if (b.tagName === "SUMMARY") {
        const d = b.parentElement;
        d.open = true;
        const box = d.querySelector("textarea");
        box.focus();
        box.setSelectionRange(box.value.length, box.value.length);
        d.scrollIntoView({ block: "nearest" });
      } else if (!b.disabled && (key === "u" || performance.now() - since > slip)) { // an undo is meant for the pair before
        b.click();
      }
      return;
    }
  });

  // Who types a prompt on the last page wants to go on.
  document.addEventListener("input", (e) => {
    if (e.target.id === "text" && view().dataset.grace) {
      delete view().dataset.grace;
      fetch(base + "stay", { method: "POST" }).catch(gone);
      document.getElementById("grace")?.remove();
    }
  });

  let timer;
  function countDown() {
    clearInterval(timer);
    let left = Number(view().dataset.grace || 0);
    if (!left) return;
    timer = setInterval(() => {
      const note = document.getElementById("grace");
      if (!note || --left < 0) return clearInterval(timer);
      note.textContent = `ggtune ends by itself in ${left} s.`;
    }, 1000);
  }
  countDown();
  readyGrips();

  const events = new EventSource(base + "events");
  events.onmessage = (e) => {
    const now = JSON.parse(e.data), v = view(), d = v.dataset;
    if (now.over) events.close();
    if (busy) return; // the answer to the post brings the page as it is
    if (String(now.revision) !== d.revision || now.id !== d.id || String(now.ready) !== d.ready || String(now.over) !== d.over) {
      if (now.over) {
        d.over = "true";
        say("Saved. This page can be closed.");
      }
      load("");
      return;
    }
    if (now.ready) return;
    v.querySelectorAll("[data-text]").forEach((p) => {
      const i = Number(p.dataset.text);
      if (p.textContent !== now.texts[i]) p.textContent = now.texts[i];
      p.closest("article").setAttribute("aria-busy", String(!now.written[i]));
    });
  };
  events.onerror = gone;
  events.onopen = () => { if (document.getElementById("notice").textContent.startsWith("ggtune has ended")) say(""); };
})();
