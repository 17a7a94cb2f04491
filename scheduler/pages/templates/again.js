
// @ again
// An update that is under way: the page is asked for anew every few seconds, as long as somebody sees it. Only what has
// changed is replaced, so that what was opened stays open, and the keyboard stays where it is.
(() => {
"use strict";
const d = document;
const EVERY = 5000;
const WORDS = "Shown anew every 5 s.";
const main = d.querySelector("main");
const line = d.getElementById("again");
if (!line) return;
const said = line.firstElementChild;
const state = (from) => from.querySelector("main .s").textContent;
let timer = 0, busy = false, failed = false, isOver = false;
let shown = state(d);
// As it came: without how long ago things were.
let last = [...main.children].map((e) => {
  const copy = e.cloneNode(true);
  for (const r of copy.querySelectorAll(".rel")) r.remove();
  for (const t of copy.querySelectorAll("time")) t.removeAttribute("title");
  return copy.outerHTML;
});
const put = (old, now) => {
  const at = old.contains(d.activeElement) && d.activeElement.getAttribute("href");
  old.replaceWith(now);
  const again = at && [...now.querySelectorAll("a")].find((a) => a.getAttribute("href") == at);
  if (again) again.focus({preventScroll: true});
};
const show = (page) => {
  const parts = [...page.querySelector("main").children];
  const texts = parts.map((e) => e.outerHTML);
  const now = state(page);
  isOver = !page.getElementById("again");
  if (isOver || parts.length != last.length) {
    const [head, ...rest] = parts.filter((e) => e.id != "again");
    main.replaceChildren(head, line, ...rest);
  } else parts.forEach((e, i) => e.id == "again" || texts[i] == last[i] || put(main.children[i], e));
  last = texts;
  put(d.querySelector("header p"), page.querySelector("header p"));
  d.title = page.title;
  if (isOver) {
    said.textContent = "Over: " + now + ".";
    line.replaceChildren(said);
  } else if (failed || now != shown) said.textContent = "Now: " + now + ". " + WORDS;
  failed = false;
  shown = now;
  // How long ago things were is told by who hears this.
  d.dispatchEvent(new Event("visibilitychange"));
};
const look = async () => {
  clearTimeout(timer);
  if (busy || isOver || d.hidden) return;
  busy = true;
  try {
    const answer = await fetch(location.href, {cache: "no-store"});
    isOver = answer.status == 404;
    if (isOver) said.textContent = "The update is not remembered any more.";
    else if (!answer.ok) throw answer;
    else show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    said.textContent = "The scheduler does not answer; it is asked again.";
    failed = true;
  }
  busy = false;
  timer = setTimeout(look, EVERY);
};
said.textContent = WORDS;
timer = setTimeout(look, EVERY);
d.addEventListener("visibilitychange", look);
})();
