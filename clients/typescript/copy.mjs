/** The queue is the browser client's own file, whole: `src/feedback.js` is a copy, and is not kept in the repository. */
import { copyFileSync } from "node:fs";

copyFileSync(new URL("../browser/heliotrope.js", import.meta.url), new URL("src/feedback.js", import.meta.url));
