/** You will see: a model that answers in prose first, and a caller that gets JSON all the same, streamed. */
import { jsonSchema, Router } from "llm-switchyard";
import { reply, startFakeUpstream, stream } from "llm-switchyard/testing";

const model = await startFakeUpstream();
model.next(
  stream({ chunks: ["Paris has about ", "two million inhabitants."] }),
  reply({ text: '{"city":"Paris","inhabitants":2100000}' }),
);

const router = new Router({
  models: { chat: [{ provider: "openai-compatible", baseUrl: model.url, model: "demo" }] },
  plugins: [
    jsonSchema({
      from: "request", // the schema that each request has in its `response_format`
      repair: true, // what is wrong is asked for once more, with what is wrong with it
      onVerdict: ({ action, findings }) => console.log("The answer was looked at:", action, findings),
    }),
  ],
});

const answer = await router.chat.completions.create({
  model: "chat",
  stream: true,
  messages: [{ role: "user", content: "How large is Paris?" }],
  response_format: {
    type: "json_schema",
    json_schema: {
      name: "city",
      schema: {
        type: "object",
        properties: { city: { type: "string" }, inhabitants: { type: "integer" } },
        required: ["city", "inhabitants"],
        additionalProperties: false,
      },
    },
  },
});
let text = "";
for await (const chunk of answer) text += chunk.choices[0]?.delta.content ?? "";
console.log(JSON.parse(text));
await router.close();
await model.close();
