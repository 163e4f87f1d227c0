/**
 * Feedback from a browser, or from a server, for answers that came through Heliotrope's gateway. No dependencies.
 *
 *   import { Feedback, readAnswers } from "./heliotrope.js";
 *   const feedback = new Feedback({ ingestUrl: "https://feedback.example" });
 *   const [answer] = readAnswers(reply);      // the gateway's reply, or the last chunk of its stream
 *   feedback.thumb(answer, "up");
 *
 * Each call returns the new event's id at once. The event waits in a queue (localStorage, bounded) until ingest has
 * stored it: through bad connections, reloads and closed tabs. It goes again under the same id, so it counts once.
 * No API key is involved: the gateway's feedback token allows its user to speak of its answers, until it expires. A
 * server gives its key instead, and says with each answer who the user is; the queue never holds the key.
 * Each try says what the clock shows (`sent_at`), so that ingest can correct a clock that is wrong.
 */

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
const ANSWER_DEADLINE_MS = 15_000;
const LONGEST_ASKED_WAIT_MS = 600_000;
const DRAIN_LOOK_MS = 20;
/** Browsers refuse to send more than 64 KiB after a page is gone; a character is three bytes at most. */
const MOST_KEPT_ALIVE = 20_000;
const TRY_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504]);
/** A key that is just being rotated, a clock, an ingest of the release before: these may be over by the next try. */
const MAY_PASS = new Set([401, 422]);
const MAX_REFUSALS = 5;

/**
 * One choice of a reply. A browser has its `token`; a server says in its place `userId`, who is speaking.
 *
 * @typedef {{interactionId: string, token?: string, userId?: string}} Answer
 */

/** @typedef {Record<string, unknown> & {event_id: string, interaction_id: string, occurred_at: string}} FeedbackEvent */
/** @typedef {{event: FeedbackEvent, token?: string, addedAt: number, refusals: number}} Entry  What waits. */
/** @typedef {{[field: string]: unknown, status?: number, title?: string, detail?: string}} Problem  RFC 9457. */
/** @typedef {"queued" | "stored" | "rejected" | "dropped"} State */
/** @typedef {{eventId: string, state: State, problem?: Problem}} Change */
/** @typedef {Pick<Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">} Store */
/** @typedef {{interaction_ids?: string[], feedback_token?: string | null, model_version?: string}} Told */

/**
 * @param {unknown} reply  the gateway's, or the last chunk of its stream
 * @returns {Answer[]} one for each choice, in order; empty when there is no token.
 */
export function readAnswers(reply) {
  const told = /** @type {{heliotrope?: Told} | null | undefined} */ (reply)?.heliotrope ?? {};
  const { interaction_ids: ids = [], feedback_token: token } = told;
  return token ? ids.map((interactionId) => ({ interactionId, token })) : [];
}

export class Feedback extends EventTarget {
  /** @type {string} */
  #url;
  /** @type {string | undefined} */
  #key;
  /** @type {Queue} */
  #queue;
  #sending = false;
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #lastAdded = 0;
  #wait = FIRST_WAIT_MS;

  /**
   * Dispatches "change" with `detail` {eventId, state, problem}: state is "queued", "stored", "rejected" (ingest will
   * never take it; `problem` is its RFC 9457 body) or "dropped" (the queue was full, and this one the oldest).
   *
   * `key` is an API key, and has no place in a browser.
   *
   * @param {{ingestUrl: string, key?: string, storage?: Store, maxQueued?: number}} options
   */
  constructor({ ingestUrl, key, storage = findStorage(), maxQueued = 200 }) {
    super();
    this.#url = `${ingestUrl.replace(/\/+$/, "")}/v1/feedback`;
    this.#key = key;
    this.#queue = new Queue(storage, maxQueued, key !== undefined);
    globalThis.addEventListener?.("online", () => this.flush());
    globalThis.addEventListener?.("pagehide", () => this.flush());
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

  /**
   * Resolves to whether nothing waits any more, at the latest after `milliseconds`: for a server that is about to end.
   *
   * @param {number} [milliseconds] @returns {Promise<boolean>}
   */
  async drain(milliseconds = 10_000) {
    const end = Date.now() + milliseconds;
    this.flush();
    while (this.waiting > 0 && Date.now() < end) await new Promise((wake) => setTimeout(wake, DRAIN_LOOK_MS));
    return this.waiting === 0;
  }

  /** Sends nothing more; what waits stays in its storage. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** @param {Answer} answer @param {{[field: string]: unknown}} content @returns {string} */
  #add(answer, content) {
    const event = {
      event_id: makeId(),
      interaction_id: answer.interactionId,
      occurred_at: new Date().toISOString(),
      ...(answer.userId ? { user_id: answer.userId } : {}),
      ...content,
    };
    const dropped = this.#queue.add({ event, token: answer.token, addedAt: this.#now(), refusals: 0 });
    for (const { event } of dropped) this.#tell(event.event_id, "dropped");
    this.#tell(event.event_id, "queued");
    this.flush();
    return event.event_id;
  }

  /** Milliseconds since 1970, never the same twice: two events of one moment keep their order in the queue. */
  #now() {
    return (this.#lastAdded = Math.max(Date.now(), this.#lastAdded + 1));
  }

  /** Send what waits, oldest first. Called by itself; safe to call at any time, and in several tabs. */
  async flush() {
    if (this.#sending || this.#closed) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    try {
      const wait = await whileAlone(() => this.#sendAll());
      if (wait > 0 && !this.#closed) this.#timer = setTimeout(() => this.flush(), wait);
    } finally {
      this.#sending = false;
    }
  }

  /** Returns the milliseconds until there is something to send again; 0 when nothing waits. */
  async #sendAll() {
    /** @type {Set<string>} */
    const refused = new Set();
    for (let next; !this.#closed && (next = this.#queue.read().find(({ event }) => !refused.has(event.event_id))); ) {
      const id = next.event.event_id;
      const [state, problem, askedWait] = await this.#send(next);
      if (state === "again") return this.#growWait(askedWait);
      if (state === "refused") {
        this.#queue.replace({ ...next, refusals: (next.refusals ?? 0) + 1 });
        refused.add(id);
        continue;
      }
      this.#wait = FIRST_WAIT_MS;
      this.#queue.remove(id);
      this.#tell(id, state, problem);
    }
    return refused.size > 0 ? this.#growWait(LONGEST_WAIT_MS) : 0;
  }

  /**
   * Half to one and a half times the pause, so that many pages do not come back together; never before it is asked.
   *
   * @param {number} [askedWait]
   */
  #growWait(askedWait = 0) {
    const wait = Math.max(this.#wait * (0.5 + Math.random()), askedWait * (1 + Math.random() / 4));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
    return wait;
  }

  /** @param {Entry} entry @returns {Promise<[state: "stored" | "rejected" | "refused" | "again", Problem?, number?]>} */
  async #send({ event, token, refusals = 0 }) {
    const body = JSON.stringify({ ...event, sent_at: new Date().toISOString() });
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: { "content-type": "application/json", ...this.#authorize(token) },
        body,
        keepalive: body.length <= MOST_KEPT_ALIVE,
        signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
      });
      if (response.ok) return ["stored"];
      const askedWait = readRetryAfter(response.headers.get("retry-after"), Date.now());
      if (TRY_AGAIN.has(response.status)) return ["again", undefined, askedWait];
      const problem = await response.json().catch(() => ({ status: response.status }));
      const mayPass = MAY_PASS.has(response.status) && refusals + 1 < MAX_REFUSALS;
      return [mayPass ? "refused" : "rejected", problem];
    } catch {
      return ["again"];
    }
  }

  /** @param {string | undefined} token @returns {Record<string, string>} */
  #authorize(token) {
    return token ? { "x-heliotrope-feedback-token": token } : { authorization: `Bearer ${this.#key}` };
  }

  /** @param {string} eventId @param {State} state @param {Problem} [problem] */
  #tell(eventId, state, problem) {
    this.dispatchEvent(new CustomEvent("change", { detail: { eventId, state, problem } }));
  }
}

/**
 * What waits, in storage, each event under a key of its own: tabs share it, and none may overwrite what another adds.
 * Storage is read anew each time.
 */
class Queue {
  static #PREFIX = "heliotrope.feedback";
  /** @type {Store} */
  #storage;
  /** @type {number} */
  #max;
  /** @type {boolean} */
  #hasKey;

  /** @param {Store} storage @param {number} max @param {boolean} hasKey  whether events without a token can be sent */
  constructor(storage, max, hasKey) {
    this.#storage = storage;
    this.#max = max;
    this.#hasKey = hasKey;
    this.#takeOverOldList();
  }

  /** @returns {Entry[]} */
  read() {
    /** @type {Entry[]} */
    const entries = [];
    for (let index = 0; index < this.#storage.length; index++) {
      const key = this.#storage.key(index);
      const entry = key?.startsWith(`${Queue.#PREFIX}.`) ? parse(this.#storage.getItem(key)) : null;
      const canBeRemoved = key === `${Queue.#PREFIX}.${entry?.event?.event_id}`;
      if (canBeRemoved && (entry.token || this.#hasKey)) entries.push(entry);
    }
    return entries.sort((one, other) => (one.addedAt ?? 0) - (other.addedAt ?? 0));
  }

  /** Returns the oldest entries, for which there was no room any more. @param {Entry} entry */
  add(entry) {
    const waiting = this.read();
    const dropped = waiting.splice(0, Math.max(0, waiting.length + 1 - this.#max));
    for (const { event } of dropped) this.remove(event.event_id);
    for (let oldest; !this.replace(entry) && (oldest = waiting.shift()); ) {
      dropped.push(oldest);
      this.remove(oldest.event.event_id);
    }
    return dropped;
  }

  /** @param {Entry} entry */
  replace(entry) {
    try {
      this.#storage.setItem(`${Queue.#PREFIX}.${entry.event.event_id}`, JSON.stringify(entry));
      return true;
    } catch {
      return false; // the storage is full
    }
  }

  /** @param {string} eventId */
  remove(eventId) {
    this.#storage.removeItem(`${Queue.#PREFIX}.${eventId}`);
  }

  /** Until 0.1 the whole queue was one list under one key. */
  #takeOverOldList() {
    const entries = parse(this.#storage.getItem(Queue.#PREFIX));
    for (const entry of Array.isArray(entries) ? entries : []) if (entry?.event?.event_id) this.replace(entry);
    this.#storage.removeItem(Queue.#PREFIX);
  }
}

/** @param {string | null} text @returns {any} */
function parse(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
  }
}

/**
 * Runs `send` in one tab at a time; in the others, returns the pause after which they look again.
 *
 * @param {() => Promise<number>} send @returns {Promise<number>}
 */
async function whileAlone(send) {
  const locks = typeof document === "undefined" ? undefined : navigator.locks;
  if (!locks) return send();
  return locks.request("heliotrope.feedback", { ifAvailable: true }, (lock) => (lock ? send() : FIRST_WAIT_MS));
}

/**
 * The milliseconds that a `Retry-After` asks for, in seconds, fractions of them, or as a date; ten minutes at most.
 *
 * @param {string | null} text @param {number} now  milliseconds @returns {number} 0 without one that can be read
 */
export function readRetryAfter(text, now) {
  if (!text?.trim()) return 0;
  const seconds = Number(text);
  const wait = Number.isNaN(seconds) ? Date.parse(text) - now : seconds * 1_000;
  return Number.isNaN(wait) ? 0 : Math.min(Math.max(wait, 0), LONGEST_ASKED_WAIT_MS);
}

/** localStorage; memory where a browser forbids it, or on a server. @returns {Store} */
function findStorage() {
  try {
    const probe = "heliotrope.probe";
    localStorage.setItem(probe, probe);
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    /** @type {Map<string, string>} */
    const items = new Map();
    return {
      get length() {
        return items.size;
      },
      key: (index) => [...items.keys()][index] ?? null,
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
      removeItem: (key) => void items.delete(key),
    };
  }
}

/** A random UUID; `crypto.randomUUID` exists on secure pages only. */
function makeId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
