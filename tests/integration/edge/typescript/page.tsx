// A page with two thumbs under an answer; the package as a bundler takes it.
import { Feedback, type Answer } from "heliotrope-client";
import { useThumbs } from "heliotrope-client/react";
import { createRoot } from "react-dom/client";

declare global {
  interface Window {
    show: (ingestUrl: string, answer: Answer) => void;
  }
}

function Thumbs({ feedback, answer }: { feedback: Feedback; answer: Answer }) {
  const { value, state, up, down } = useThumbs(feedback, answer);
  return (
    <p>
      <button id="up" aria-pressed={value === "up"} onClick={up} />
      <button id="down" aria-pressed={value === "down"} onClick={down} />
      <output>{`${value} ${state}`}</output>
    </p>
  );
}

window.show = (ingestUrl, answer) =>
  createRoot(document.body).render(<Thumbs feedback={new Feedback({ ingestUrl })} answer={answer} />);
