/**
 * Feedback from a browser, for answers that came through Heliotrope's gateway. No dependencies.
 *
 *   import { Feedback, readAnswers } from "./heliotrope.js";
 *   const feedback = new Feedback({ ingestUrl: "https://feedback.example" });
 *   const [answer] = readAnswers(reply);      // the gateway's reply, or the last chunk of its stream
 *   feedback.thumb(answer, "up");
 *
 * Each call returns the new event's id at once. The event waits in a queue (localStorage, bounded) until ingest has
 * stored it: through bad connections, reloads and closed tabs. It goes again under the same id, so it counts once.
 * No API key is involved: the gateway's feedback token allows its user to speak of its answers, until it expires.
 */

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
const ANSWER_DEADLINE_MS = 15_000;
const TRY_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504]);

/** @typedef {{interactionId: string, token: string}} Answer  One choice of a reply. */

/** @param {object} reply  @returns {Answer[]} one for each choice, in order; empty when there is no token. */
export function readAnswers(reply) {
  const { interaction_ids: ids = [], feedback_token: token } = reply?.heliotrope ?? {};
  return token ? ids.map((interactionId) => ({ interactionId, token })) : [];
}

export class Feedback extends EventTarget {
  #url;
  #queue;
  #sending = false;
  #timer;
  #wait = FIRST_WAIT_MS;

  /**
   * Dispatches "change" with `detail` {eventId, state, problem}: state is "queued", "stored", "rejected" (ingest will
   * never take it; `problem` is its RFC 9457 body) or "dropped" (the queue was full, and this one the oldest).
   *
   * @param {{ingestUrl: string, storage?: Storage, maxQueued?: number}} options
   */
  constructor({ ingestUrl, storage = findStorage(), maxQueued = 200 }) {
    super();
    this.#url = `${ingestUrl.replace(/\/+$/, "")}/v1/feedback`;
    this.#queue = new Queue(storage, maxQueued);
    addEventListener("online", () => this.flush());
    addEventListener("pagehide", () => this.flush());
    this.flush();
  }

  /** How many events wait to be stored. */
  get waiting() {
    return this.#queue.read().length;
  }

  /** @param {Answer} answer @param {"up" | "down"} value */
  thumb(answer, value) {
    return this.#add(answer, { type: "thumb", value });
  }

  /** @param {Answer} answer @param {number} value  1 to 5 */
  rating(answer, value) {
    return this.#add(answer, { type: "rating", value });
  }

  /** @param {Answer} answer @param {string} text  the answer as the user would have it */
  edit(answer, text) {
    return this.#add(answer, { type: "edit", text });
  }

  /** @param {Answer} answer @param {Answer} replacement  another answer to the same prompt, asked for by the user */
  regenerate(answer, replacement) {
    return this.#add(answer, { type: "regenerate", replacement_interaction_id: replacement.interactionId });
  }

  /** @param {Answer} answer @param {"harmful" | "wrong" | "off_topic" | "other"} category @param {string} [text] */
  complaint(answer, category, text) {
    return this.#add(answer, { type: "complaint", category, ...(text ? { text } : {}) });
  }

  /** @param {Answer} answer @param {string} text  for people to read */
  comment(answer, text) {
    return this.#add(answer, { type: "comment", text });
  }

  /**
   * Two answers side by side.
   *
   * @param {[Answer, Answer]} shown  in the order in which they were shown
   * @param {Answer | null} preferred  null: both are as good
   */
  choice(shown, preferred) {
    return this.#add(shown[0], {
      type: "choice",
      other_interaction_id: shown[1].interactionId,
      presented_order: shown.map((answer) => answer.interactionId),
      ...(preferred ? { preferred_interaction_id: preferred.interactionId } : { tie: true }),
    });
  }

  /** @param {Answer} answer @param {string} eventId  what an earlier call returned: it shall not count any more */
  retract(answer, eventId) {
    return this.#add(answer, { type: "retract", retracted_event_id: eventId });
  }

  #add(answer, content) {
    const event = {
      event_id: makeId(),
      interaction_id: answer.interactionId,
      occurred_at: new Date().toISOString(),
      ...content,
    };
    const dropped = this.#queue.add({ event, token: answer.token });
    for (const { event } of dropped) this.#tell(event.event_id, "dropped");
    this.#tell(event.event_id, "queued");
    this.flush();
    return event.event_id;
  }

  /** Send what waits, oldest first. Called by itself; safe to call at any time. */
  async flush() {
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    try {
      for (let next; (next = this.#queue.read()[0]); ) {
        const [state, problem] = await this.#send(next);
        if (state === "again") {
          this.#timer = setTimeout(() => this.flush(), this.#wait);
          this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
          return;
        }
        this.#wait = FIRST_WAIT_MS;
        this.#queue.remove(next.event.event_id);
        this.#tell(next.event.event_id, state, problem);
      }
    } finally {
      this.#sending = false;
    }
  }

  async #send({ event, token }) {
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: { "content-type": "application/json", "x-heliotrope-feedback-token": token },
        body: JSON.stringify(event),
        keepalive: true,
        signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
      });
      if (response.ok) return ["stored"];
      if (TRY_AGAIN.has(response.status)) return ["again"];
      return ["rejected", await response.json().catch(() => ({ status: response.status }))];
    } catch {
      return ["again"];
    }
  }

  #tell(eventId, state, problem) {
    this.dispatchEvent(new CustomEvent("change", { detail: { eventId, state, problem } }));
  }
}

/** What waits, in storage; read anew each time, since other tabs share it. */
class Queue {
  static #KEY = "heliotrope.feedback";
  #storage;
  #max;

  constructor(storage, max) {
    this.#storage = storage;
    this.#max = max;
  }

  read() {
    try {
      const entries = JSON.parse(this.#storage.getItem(Queue.#KEY) ?? "[]");
      return Array.isArray(entries) ? entries.filter((entry) => entry?.event?.event_id && entry.token) : [];
    } catch {
      return [];
    }
  }

  /** Returns the oldest entries, for which there was no room any more. */
  add(entry) {
    const entries = [...this.read(), entry];
    const dropped = entries.splice(0, Math.max(0, entries.length - this.#max));
    while (!this.#write(entries) && entries.length > 1) dropped.push(entries.shift());
    return dropped;
  }

  remove(eventId) {
    this.#write(this.read().filter(({ event }) => event.event_id !== eventId));
  }

  #write(entries) {
    try {
      this.#storage.setItem(Queue.#KEY, JSON.stringify(entries));
      return true;
    } catch {
      return false; // the storage is full
    }
  }
}

/** localStorage; memory where a browser forbids it. */
function findStorage() {
  try {
    const probe = "heliotrope.probe";
    localStorage.setItem(probe, probe);
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    const items = new Map();
    return { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => void items.set(key, value) };
  }
}

/** A random UUID; `crypto.randomUUID` exists on secure pages only. */
function makeId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
