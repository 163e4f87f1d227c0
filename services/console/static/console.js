"use strict";
// Times in the reader's zone.
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function tellTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) { time.title = time.textContent; time.textContent = local.format(at); }
  }
}

// Live pages: when the loop has moved, fetch this page anew and put its live parts in place, but never under a hand.
const beat = document.getElementById("beat");
let asked = 0, waiting = false;
function isBusy(part) {
  return part.contains(document.activeElement) && document.activeElement !== document.body || part.querySelector("details[open]");
}
async function renew() {
  if (waiting || document.hidden) return;
  waiting = true;
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, asked + 3000 - Date.now())));
  try {
    asked = Date.now();
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (response.redirected && new URL(response.url).pathname === "/sign-in") { location.reload(); return; }
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    tellTimes(page);
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const fresh = page.getElementById(part.id);
      if (fresh && !isBusy(part)) part.replaceWith(document.adoptNode(fresh));
    }
  } catch { /* the next move tries again */ } finally { waiting = false; }
}
function listen() {
  const events = new EventSource("/live");
  events.onopen = () => beat.classList.add("on");
  events.onerror = () => beat.classList.remove("on");
  events.addEventListener("moved", (event) => { if (event.data === "again") renew(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) renew(); });
}

// Keys: on the rating page one key is one vote; elsewhere "/" goes to the search.
function handleKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input, textarea, select")) return;
  const wanted = document.querySelector(`[data-keys~="${CSS.escape(event.key === " " ? "Space" : event.key)}"]`);
  if (wanted) {
    event.preventDefault();
    if (wanted.tagName === "INPUT") wanted.focus(); else wanted.click();
  }
}

// A form is sent once.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
document.addEventListener("keydown", handleKey);
document.addEventListener("toggle", (event) => {
  if (event.target.matches("details.act") && event.target.open) event.target.querySelector("textarea, button")?.focus();
}, true);
tellTimes(document);
document.querySelector(".frame > nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
if (beat && document.querySelector("[data-live]")) listen();
