// A chat server's feedback, with its key: server.mjs INGEST KEY FOLDER IDS...; with ingest away it stays in the folder
import { Feedback } from "heliotrope-client";
import { FolderStorage } from "heliotrope-client/node";

const [ingestUrl, key, folder, ...ids] = process.argv.slice(2);
const feedback = new Feedback({ ingestUrl, key, storage: new FolderStorage(folder) });
const states = [];
feedback.addEventListener("change", ({ detail }) => states.push(detail.state));
const events = ids.map((interactionId) => feedback.thumb({ interactionId, userId: "ada" }, "up"));
const drained = await feedback.drain(ids.length && ingestUrl.endsWith(":9") ? 300 : 15_000);
feedback.close();
console.log(JSON.stringify({ events, states, drained, waiting: feedback.waiting }));
