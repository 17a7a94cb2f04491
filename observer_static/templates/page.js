// The only script; without it pages are complete. It says how long ago things were, sorts and filters tables, and
// follows the logs of runs that go on. render.py takes the sections that a page needs, without indentation and comments.
(() => {
"use strict";
const d = document;
const all = (query, within = d) => [...within.querySelectorAll(query)];
const make = (name, text = "", cls = "") => {
  const e = d.createElement(name);
  e.textContent = text;
  e.className = cls;
  return e;
};

// How long ago
// @ index task process
const age = (s) => {
  for (const [n, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (s >= n) return Math.floor(s / n) + " " + unit;
  return Math.floor(s) + " s";
};
const tell = () => {
  for (const t of all("time")) {
    const s = (Date.now() - Date.parse(t.dateTime)) / 1000;
    const words = s < 0 ? "in " + age(-s) : age(s) + " ago";
    t.title = words;
    const p = t.closest(".ago");
    if (!p) continue;
    const own = p.matches("header p");
    const after = own ? t.parentNode : t;
    let r = after.nextElementSibling;
    if (!r || r.className != "rel") after.after(r = make("span", "", "rel"));
    r.textContent = own ? " (this page is " + age(Math.max(s, 0)) + " old)" : " " + words;
  }
};
tell();
setInterval(() => d.hidden || tell(), 20000);
d.addEventListener("visibilitychange", () => d.hidden || tell());


// Sorting: by time, by quantity, else by text; what is unknown comes last
const UNITS = {B: 1, KiB: 1024, MiB: 1048576, GiB: 1073741824, TiB: 1099511627776, ms: .001, s: 1, min: 60, h: 3600, d: 86400};
const key = (cell) => {
  const t = cell.querySelector("time");
  if (t) return Date.parse(t.dateTime);
  const text = cell.textContent.trim();
  if (!text || text == "–") return null;
  if (cell.tagName == "TH" || !/^[−-]?\d/.test(text)) return text;
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/([\d.]+) ?([A-Za-z]*)/g)) sum += n * (UNITS[unit] || 1);
  return text[0] == "−" ? -sum : sum;
};
const order = (a, b) => typeof a == "number" && typeof b == "number" ? a - b
  : String(a).localeCompare(String(b), "en", {numeric: true});
for (const table of all("table.sort")) {
  const heads = all("thead th", table);
  heads.forEach((th, column) => {
    const button = make("button", th.textContent);
    button.type = "button";
    th.replaceChildren(button);
    button.onclick = () => {
      const down = th.getAttribute("aria-sort") == "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
      rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : down ? order(b, a) : order(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    };
  });
}

// @ index task
// Filtering: rows that hold every word
for (const find of all(".find")) {
  const input = find.querySelector("input");
  const said = find.querySelector("[role=status]");
  const rows = all("tbody tr", d.getElementById(input.getAttribute("aria-controls")));
  const texts = rows.map((row) => row.textContent.toLowerCase());
  find.hidden = false;
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    });
    said.textContent = input.value.trim() ? shown + " of " + rows.length : "";
  };
  input.oninput = apply;
  input.onkeydown = (event) => {
    if (event.key != "Escape") return;
    input.value = "";
    apply();
  };
  apply();
}

// @ follow
// Following logs: what the agent's /files/read gives, by script elements, since its answers bear no leave for others
const LINES = 10000;
const CHUNK = 65536;
// What is further behind than this is passed over.
const MOST = 32 * CHUNK;
let calls = 0;
const read = (log, offset, length, done) => {
  const name = "thermos" + ++calls;
  const script = make("script");
  const end = (value, why) => {
    if (!timer) return;
    clearTimeout(timer);
    timer = 0;
    script.remove();
    // A late answer must find somebody to call.
    if (why == "late") window[name] = () => delete window[name];
    else delete window[name];
    done(value && typeof value.data == "string" && value.offset >= 0 ? value : null, why);
  };
  let timer = setTimeout(() => end(null, "late"), 10000);
  window[name] = (value) => end(value);
  script.onerror = script.onload = () => end(null);
  script.src = log.agent + "/files/read?path=" + encodeURIComponent(log.path) + "&offset=" + offset +
    "&length=" + length + "&jsonp=" + name;
  d.head.append(script);
};
const count = (text) => {
  let n = 0;
  for (let i = -1; (i = text.indexOf("\n", i + 1)) >= 0;) n++;
  return n;
};
// What a terminal would show of a line that was written over, without escapes and what cannot be seen
const overwritten = (line) => {
  let end = line.length;
  while (end && line[end - 1] == "\r") end--;
  return end ? line.slice(line.lastIndexOf("\r", end - 1) + 1, end) : "";
};
const clean = (text) => {
  text = text.replace(/\x1b(?:\[[0-?]*[ -\/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -\/]*[0-~]?)/g, "");
  if (text.includes("\r")) text = text.split("\n").map(overwritten).join("\n");
  return text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
};
for (const section of all("[data-agent]")) {
  const log = section.dataset;
  const pre = section.querySelector("pre");
  const first = pre.firstChild, last = pre.lastChild;
  const tail = make("span");
  const label = make("label");
  const box = make("input");
  const said = make("span", "", "dim");
  box.type = "checkbox";
  said.setAttribute("role", "status");
  label.append(box, " Follow");
  section.querySelector(".bar").append(label, said);
  let at = +log.offset, raw = "", lines = 0, timer = 0, busy = false, inLine = false;

  const trim = () => {
    if (lines <= LINES) return;
    // Down by a tenth more, so that not each line costs a layout.
    let over = lines - LINES * .9;
    lines -= over;
    while (over > 0) {
      const node = first.nextSibling;
      const has = count(node.textContent);
      if (has <= over) {
        over -= has;
        node.remove();
        continue;
      }
      let cut = 0;
      for (; over > 0; over--) cut = node.textContent.indexOf("\n", cut) + 1;
      node.textContent = node.textContent.slice(cut);
    }
  };
  const show = (text) => {
    raw += text;
    let cut = raw.lastIndexOf("\n") + 1;
    if (raw.length - cut > CHUNK) cut = raw.length;
    let full = clean(raw.slice(0, cut));
    raw = raw.slice(cut);
    lines += count(full);
    if (inLine && full) {
      const i = full.indexOf("\n") + 1 || full.length;
      tail.before(full.slice(0, i));
      inLine = full[i - 1] != "\n";
      full = full.slice(i);
    }
    // Each piece is a block, so that the browser lays out what is new only.
    if (full) tail.before(make("span", full, "c"));
    tail.textContent = clean(raw);
    trim();
  };
  const say = (text) => said.textContent = text;
  const stop = (why) => {
    busy = false;
    box.checked = false;
    say(why == "late" ? "Stopped: the agent has not answered for 10 s."
      : location.protocol == "https:" && log.agent.startsWith("http:")
      ? "Stopped: this page came by https and the agent speaks http; browsers forbid to mix them."
      : "Stopped: the agent did not give the file. It may be away, ask for a password or not have the file any more, " +
        "or this browser may forbid pages to reach the local network.");
  };
  const rest = () => {
    busy = false;
    timer = setTimeout(step, 1000);
  };
  const more = (size) => {
    if (at >= size || !box.checked) return rest();
    const length = Math.min(CHUNK, size - at);
    read(log, at, length, (got, why) => {
      if (!got) return stop(why);
      if (got.offset != at || !got.data) return rest();
      let text = got.data, taken = length;
      if (text.endsWith("\ufffd")) {
        // A character whose other bytes are still to come: they are read again.
        const whole = text.slice(0, -1), missing = length - new Blob([whole]).size;
        if (missing > 0 && missing < 4) text = whole, taken -= missing;
        if (!taken) return rest();
      }
      at += taken;
      requestAnimationFrame(() => {
        show(text);
        more(size);
      });
    });
  };
  const step = () => {
    clearTimeout(timer);
    if (busy || !box.checked || d.hidden) return;
    busy = true;
    read(log, -1, 0, (got, why) => {
      if (!got) return stop(why);
      say("Following");
      const size = got.offset;
      if (size < at) {
        show("\n[the file began anew]\n");
        at = 0;
      }
      if (size - at > MOST) {
        show("\n[" + (size - MOST - at) + " bytes passed over]\n");
        at = size - MOST;
      }
      more(size);
    });
  };
  box.onchange = () => {
    if (!tail.parentNode) {
      const old = make("span", "", "c");
      const text = pre.textContent;
      inLine = text != "" && !text.endsWith("\n");
      lines = count(text);
      if (!inLine) {
        old.append(...pre.childNodes);
        pre.append(first, old, last);
      }
      last.before(tail);
    }
    say(box.checked ? "Asking the agent …" : "");
    step();
  };
  d.addEventListener("visibilitychange", step);
}

// @ all
})();
