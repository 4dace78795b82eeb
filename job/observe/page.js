"use strict";
// Counts the times down each second and takes a new page every ten; without it, the browser reloads.
const search = () => document.querySelector("input[type=search]");
let ahead = 0;

function length(seconds) {
  const sign = seconds < 0 ? "-" : "";
  let rest = Math.abs(Math.trunc(seconds));
  const parts = [];
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    const count = Math.floor(rest / size);
    rest %= size;
    if (count || (unit === "s" && !parts.length)) parts.push(count + unit);
  }
  return sign + parts.slice(0, 2).join(" ");
}

function tick() {
  const now = Date.now() / 1000 + ahead;
  for (const time of document.querySelectorAll("time[data-at]")) {
    const left = Number(time.dataset.at) - now;
    const past = time.dataset.past === "1";
    time.textContent = past ? length(Math.max(0, -left)) : length(Math.max(0, left));
  }
}

function sift() {
  const words = search() ? search().value.toLowerCase() : "";
  for (const item of document.querySelectorAll("ol > li")) {
    item.hidden = !item.dataset.words.includes(words);
  }
}

function arrived(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const id of ["verdict", "counts", "tokens", "seen"]) {
    const old = document.getElementById(id);
    const next = fresh.getElementById(id);
    if (old && next && old.outerHTML !== next.outerHTML) old.replaceWith(next);
  }
  document.title = fresh.title;
  synchronise(fresh);
  sift();
  tick();
}

function synchronise(page) {
  ahead = Number(page.body.dataset.now) - Date.now() / 1000;
}

function lost() {
  const seen = document.getElementById("seen");
  seen.textContent = "freshtoken no longer answers: what is shown is old";
  document.title = "? freshtoken no longer answers";
}

async function renew() {
  try {
    const reply = await fetch(location.href, { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    arrived(await reply.text());
  } catch {
    lost();
  }
}

synchronise(document);
tick();
setInterval(tick, 1000);
setInterval(renew, 10000);
document.addEventListener("input", sift);
