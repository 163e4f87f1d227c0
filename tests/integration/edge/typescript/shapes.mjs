// The official OpenAI client, connected, asks the gateway what its model server plays in turn: shapes.mjs GATEWAY KEY
import { connect, findInteractionId } from "heliotrope-client/openai";
import { readAnswers } from "heliotrope-client";
import OpenAI from "openai";

const [gateway, apiKey] = process.argv.slice(2);
const client = connect(connect(new OpenAI({ baseURL: `${gateway}/v1`, apiKey, maxRetries: 0 })));
const { completions } = client.chat;
const asked = { model: "heliotrope", messages: [{ role: "user", content: "Where is my order?" }] };
const tools = [{ type: "function", function: { name: "find_order", parameters: { type: "object" } } }];
const format = { type: "json_schema", json_schema: { name: "order", strict: true, schema: { type: "object" } } };
const said = {};

const whole = await completions.create(asked);
said.whole = { id: findInteractionId(whole), reply: whole.id, fields: Object.keys(whole), answers: readAnswers(whole) };

const both = await completions.create({ ...asked, n: 2 });
said.both = both.choices.map((choice) => choice.interaction_id);

const stream = await completions.create({ ...asked, stream: true });
said.stream = { atOnce: findInteractionId(stream), answers: readAnswers(stream), chunks: [], text: "" };
for await (const chunk of stream) {
  said.stream.chunks.push(findInteractionId(chunk));
  said.stream.text += chunk.choices[0]?.delta.content ?? "";
}

const final = await completions.stream({ ...asked, n: 2 }).finalChatCompletion();
said.helper = final.choices.map(({ message, index }) => [message.content, findInteractionId(final, index)]);

const called = await completions.create({ ...asked, tools });
said.tools = called.choices[0].message.tool_calls;
const streamed = await completions.stream({ ...asked, tools }).finalChatCompletion();
said.streamedTools = streamed.choices[0].message.tool_calls;

const parsed = await completions.parse({ ...asked, response_format: format });
said.parsed = { content: parsed.choices[0].message.content, id: findInteractionId(parsed) };

const { data, response } = await completions.create(asked).withResponse();
said.raw = [findInteractionId(data), response.headers.get("x-heliotrope-interaction-id")];

try {
  findInteractionId(await new OpenAI({ baseURL: `${gateway}/v1`, apiKey }).chat.completions.create(asked));
} catch (error) {
  said.plain = error.message;
}
console.log(JSON.stringify(said));
