import { useCallback, useEffect, useRef, useState } from "react";

import type { Answer, Change, Feedback, Problem, State } from "./feedback.js";

/** A thumb: which one stands, what became of it, and how to change it. */
export interface Thumbs {
  value: "up" | "down" | null;
  /** Of the last change: `queued` until ingest has stored it; null before the first. */
  state: State | null;
  problem: Problem | null;
  up: () => void;
  down: () => void;
  /** Takes the thumb back. */
  clear: () => void;
}

/**
 * Thumbs for an answer.
 *
 *   const { value, up, down } = useThumbs(feedback, answer);
 *   <button aria-pressed={value === "up"} onClick={up}>👍</button>
 *
 * A second thumb replaces the first, the same thumb again takes it back. Another answer begins anew. `answer` may be
 * undefined while it is still being written; then nothing happens.
 */
export function useThumbs(feedback: Feedback, answer: Answer | undefined): Thumbs {
  const [value, setValue] = useState<Thumbs["value"]>(null);
  const [outcome, setOutcome] = useState<{ state: State | null; problem: Problem | null }>(UNSAID);
  const standing = useRef<string | null>(null);
  const last = useRef<string | null>(null);
  const interactionId = answer?.interactionId;

  useEffect(() => {
    standing.current = last.current = null;
    setValue(null);
    setOutcome(UNSAID);
  }, [interactionId]);

  useEffect(() => {
    const hear = (event: Event) => {
      const { eventId, state, problem } = (event as CustomEvent<Change>).detail;
      if (eventId === last.current) setOutcome({ state, problem: problem ?? null });
    };
    feedback.addEventListener("change", hear);
    return () => feedback.removeEventListener("change", hear);
  }, [feedback]);

  const clear = useCallback(() => {
    if (!answer || standing.current === null) return;
    last.current = feedback.retract(answer, standing.current);
    standing.current = null;
    setValue(null);
    setOutcome({ state: "queued", problem: null });
  }, [feedback, answer]);

  const say = useCallback(
    (thumb: "up" | "down") => {
      if (!answer) return;
      last.current = standing.current = feedback.thumb(answer, thumb);
      setValue(thumb);
      setOutcome({ state: "queued", problem: null });
    },
    [feedback, answer],
  );
  const up = useCallback(() => (value === "up" ? clear() : say("up")), [value, clear, say]);
  const down = useCallback(() => (value === "down" ? clear() : say("down")), [value, clear, say]);
  return { value, ...outcome, up, down, clear };
}

const UNSAID = { state: null, problem: null };
