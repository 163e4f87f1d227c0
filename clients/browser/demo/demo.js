/** A chat page that shows every kind of feedback. Answers are hostile: they only ever become text nodes. */

import { Feedback, readAnswers } from "../heliotrope.js";
import { ask } from "./chat.js";

const $ = (id) => document.getElementById(id);
const { ingest_url: ingestUrl } = await (await fetch("/config.json")).json();
const feedback = new Feedback({ ingestUrl });
const user = (localStorage["demo.user"] ??= `browser-${crypto.randomUUID()}`);
const messages = [];
const WORDS = { queued: "Waiting for the connection", stored: "Stored", rejected: "Not accepted", dropped: "Not kept" };
const CATEGORIES = { wrong: "It is wrong", harmful: "It is harmful", off_topic: "It is beside the point", other: "Other" };

/** What feedback an answer got: its event's id -> where to say how it fares. */
const watched = new Map();

feedback.addEventListener("change", ({ detail: { eventId, state, problem } }) => {
  const place = watched.get(eventId);
  if (place) {
    place.className = `state ${state}`;
    place.textContent = problem?.detail ?? WORDS[state];
  }
  showConnection();
});
for (const kind of ["online", "offline"]) addEventListener(kind, showConnection);
showConnection();

function showConnection() {
  const waiting = feedback.waiting;
  $("connection").className = waiting || !navigator.onLine ? "waiting" : "";
  $("connection").textContent = [navigator.onLine ? "" : "offline", waiting ? `${waiting} to send` : ""]
    .filter(Boolean)
    .join(", ");
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

function makeButton(words, className, act) {
  const button = make("button", className, words);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

function makeIcon(name, label, act) {
  const button = makeButton($(`icon-${name}`).content.cloneNode(true), "icon", act);
  button.title = label;
  button.ariaLabel = label;
  return button;
}

/** One answer on the page, with what may be said of it. */
class Card {
  constructor(label = "") {
    this.text = make("p", "");
    this.bar = make("div", "bar");
    this.state = make("span", "state");
    this.element = make("article", "answer thinking", this.text, this.bar);
    if (label) this.element.prepend(make("div", "label", label));
  }

  say(words) {
    this.text.textContent += words;
  }

  fail(words) {
    this.element.className = "answer failed";
    this.text.textContent = words;
  }

  watch(eventId) {
    watched.set(eventId, this.state);
    this.state.className = "state queued";
    this.state.textContent = WORDS.queued;
  }

  finish(answer) {
    this.answer = answer;
    this.element.classList.remove("thinking");
    if (!answer) return;
    this.bar.replaceChildren(
      this.makeThumb("up", "Good answer"),
      this.makeThumb("down", "Bad answer"),
      make("span", "gap"),
      this.makeStars(),
      make("span", "gap"),
      make(
        "span",
        "acts",
        makeButton("Edit", "edit", () => this.openEdit()),
        ...(this.again ? [makeButton("Regenerate", "again", () => this.again())] : []),
        makeButton("Report", "report", () => this.openReport()),
      ),
      this.state,
    );
  }

  makeThumb(value, label) {
    const button = makeIcon(value, label, () => {
      for (const thumb of this.bar.querySelectorAll(".thumb")) thumb.classList.toggle("on", thumb === button);
      this.watch(feedback.thumb(this.answer, value));
    });
    button.classList.add("thumb", value);
    return button;
  }

  makeStars() {
    const stars = make("span", "stars");
    for (let value = 1; value <= 5; value++) {
      const rate = () => {
        [...stars.children].forEach((star, index) => star.classList.toggle("on", index < value));
        this.watch(feedback.rating(this.answer, value));
      };
      stars.append(makeIcon("star", `${value} of 5`, rate));
    }
    return stars;
  }

  openEdit() {
    const box = make("textarea", "");
    box.value = this.text.textContent;
    box.ariaLabel = "The answer as you would have it";
    this.openSheet([box], "Save", () => {
      if (!box.value.trim() || box.value === this.text.textContent) return;
      this.text.textContent = box.value;
      this.watch(feedback.edit(this.answer, box.value));
    });
    box.focus();
  }

  openReport() {
    const category = make("select", "");
    category.ariaLabel = "What is wrong with it";
    for (const [value, words] of Object.entries(CATEGORIES)) category.append(new Option(words, value));
    const box = make("textarea", "");
    box.placeholder = "What should we know? (optional)";
    this.openSheet([category, box], "Report", () =>
      this.watch(feedback.complaint(this.answer, category.value, box.value.trim())),
    );
  }

  openSheet(fields, words, act) {
    this.sheet?.remove();
    const close = () => this.sheet.remove();
    const submit = makeButton(words, "primary", () => (act(), close()));
    this.sheet = make("div", "sheet", ...fields, submit, makeButton("Cancel", "", close));
    this.element.append(this.sheet);
  }
}

async function answerOnce(history) {
  const card = new Card();
  const answers = make("div", "answers", card.element);
  $("talk").append(answers);
  await answerInto([card], history);
  card.again = () => regenerate(card, answers, history);
  card.finish(card.answer);
  return card.text.textContent;
}

async function regenerate(card, answers, history) {
  const successor = new Card();
  answers.replaceChildren(successor.element);
  await answerInto([successor], history);
  if (!successor.answer) return;
  const eventId = feedback.regenerate(card.answer, successor.answer);
  successor.again = () => regenerate(successor, answers, history);
  successor.finish(successor.answer);
  successor.watch(eventId);
  messages[messages.length - 1] = { role: "assistant", content: successor.text.textContent };
}

async function answerTwice(history) {
  const cards = [new Card("First"), new Card("Second")];
  const answers = make("div", "answers two", ...cards.map((card) => card.element));
  $("talk").append(answers);
  await answerInto(cards, history);
  const shown = cards.map((card) => card.answer);
  if (shown.includes(undefined)) return cards[0].text.textContent;
  return new Promise((resolve) => {
    const verdict = make("div", "verdict");
    const choose = (preferred) => {
      preferred?.element.classList.add("preferred");
      const state = make("span", "state");
      verdict.replaceChildren(state);
      watched.set(feedback.choice(shown, preferred?.answer ?? null), state);
      for (const card of cards) card.finish(card.answer);
      resolve((preferred ?? cards[0]).text.textContent);
    };
    cards.forEach((card, place) => {
      card.bar.replaceChildren(makeButton("This one is better", `better-${place}`, () => choose(card)));
    });
    verdict.append(makeButton("Both are as good", "tie", () => choose(null)));
    answers.after(verdict);
    scrollTo({ top: document.body.scrollHeight });
  });
}

/** Stream a reply's choices into as many cards. */
async function answerInto(cards, history) {
  try {
    const last = await ask({ messages: history, user, n: cards.length }, (place, words) => {
      cards[place]?.say(words);
      scrollTo({ top: document.body.scrollHeight });
    });
    const answers = readAnswers(last);
    cards.forEach((card, place) => {
      card.answer = answers[place];
      card.element.classList.remove("thinking");
      if (!card.answer) card.element.remove();
    });
  } catch (error) {
    for (const card of cards) card.fail(error.message);
  }
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question || $("send").disabled) return;
  $("hint")?.remove();
  $("question").value = "";
  $("send").disabled = true;
  $("talk").append(make("p", "question", question));
  messages.push({ role: "user", content: question });
  const answer = $("compare").checked ? answerTwice([...messages]) : answerOnce([...messages]);
  scrollTo({ top: document.body.scrollHeight });
  messages.push({ role: "assistant", content: await answer });
  $("send").disabled = false;
});

$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});

// Until here a question would have sent the form itself, and been lost.
$("send").disabled = false;
