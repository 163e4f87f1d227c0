import type { OpenAI } from "openai";

import type { Told } from "./feedback.js";

/** What a reply, a stream, a chunk or a choice of a connected client carries beside its own fields. */
export interface Known {
  /** The answer's id; null before it is known, or where the answer came through no gateway. */
  interaction_id: string | null;
}

/** What a reply, a stream or a chunk carries besides. */
export interface KnownReply extends Known {
  /** The ids of its choices, by their index. */
  interaction_ids: string[];
  heliotrope?: Told;
}

interface Choice extends Partial<Known> {
  index: number;
}

interface Reply extends Partial<KnownReply> {
  choices?: Choice[];
}

/** The parts of a stream of the OpenAI client that are followed. */
interface Stream extends Reply {
  controller: AbortController;
  iterator: () => AsyncIterator<Reply>;
}

/** The OpenAI client's own promise, by which its helpers transform replies. */
interface Promised {
  _thenUnwrap(transform: (reply: unknown, props: { response: Response }) => unknown): unknown;
}

const CONNECTED = Symbol.for("heliotrope.connected");

/**
 * Makes the chat replies of an OpenAI client say under which ids their answers are known; returns the client.
 *
 *   const client = connect(new OpenAI({ baseURL: "http://gateway/v1", apiKey }));
 *   const reply = await client.chat.completions.create({ model: "heliotrope", messages });
 *   feedback.thumb({ interactionId: findInteractionId(reply), userId }, "up");
 *
 * So do their choices, streams and chunks, and what `parse`, `stream` and `runTools` make of them; `readAnswers` reads
 * them with their token, of a stream too. A client that `withOptions` makes of it is to be connected itself.
 */
export function connect<Client extends Pick<OpenAI, "chat">>(client: Client): Client {
  const completions = client.chat.completions as unknown as {
    create: (...given: unknown[]) => Promised;
    [CONNECTED]?: boolean;
  };
  if (completions[CONNECTED]) return client;
  const create = completions.create.bind(completions);
  completions.create = (...given) => create(...given)._thenUnwrap(read) as Promised;
  completions[CONNECTED] = true;
  return client;
}

/**
 * The id of one of a reply's choices; of a stream, from the beginning.
 *
 * @throws Error: there is none: the client is not connected, or the answer came through no gateway.
 */
export function findInteractionId(reply: unknown, choice = 0): string {
  const id = (reply as Reply | null)?.interaction_ids?.[choice];
  if (!id) throw new Error("the reply carries no interaction id: was it asked of a client from connect()?");
  return id;
}

function read(reply: unknown, { response }: { response: Response }): unknown {
  const told = readHeaders(response.headers);
  if (isStream(reply)) follow(reply, told);
  else if (reply && typeof reply === "object") name(reply as Reply, (reply as Reply).heliotrope ?? told);
  return reply;
}

function isStream(reply: unknown): reply is Stream {
  return typeof (reply as Stream | null)?.iterator === "function";
}

function follow(stream: Stream, told: Told): void {
  name(stream, told);
  if (told.feedback_token) stream.heliotrope = told;
  const iterate = stream.iterator.bind(stream);
  stream.iterator = async function* () {
    for await (const chunk of { [Symbol.asyncIterator]: iterate }) yield name(chunk, chunk.heliotrope ?? told);
  };
}

function name(reply: Reply, { interaction_ids: ids = [] }: Told): Reply {
  reply.interaction_ids = ids;
  reply.interaction_id = ids[0] ?? null;
  for (const choice of reply.choices ?? []) choice.interaction_id = ids[choice.index] ?? null;
  return reply;
}

function readHeaders(headers: Headers): Told {
  const ids = headers.get("x-heliotrope-interaction-ids")?.split(",") ?? [];
  return {
    interaction_ids: ids.map((id) => id.trim()).filter(Boolean),
    feedback_token: headers.get("x-heliotrope-feedback-token"),
    model_version: headers.get("x-heliotrope-model-version") ?? undefined,
  };
}
