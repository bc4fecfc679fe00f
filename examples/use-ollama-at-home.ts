/** You will see: a model at home that answers with a context of our choice, and thinks aloud before it does. */
import { Router } from "llm-switchyard";
import { respond, startFakeUpstream } from "llm-switchyard/testing";

// Stands for Ollama, so that this runs without it. Leave `baseUrl` out to meet the real one on this machine.
const home = await startFakeUpstream();
const line = (fields: object) => `${JSON.stringify({ model: "qwen3:8b", done: false, ...fields })}\n`;
home.next(
  respond({
    headers: { "content-type": "application/x-ndjson" },
    body: [
      line({ message: { role: "assistant", content: "", thinking: "A greeting. Be kind." } }),
      line({ message: { role: "assistant", content: "Hello " } }),
      line({ message: { role: "assistant", content: "from home." } }),
      line({ message: { role: "assistant", content: "" }, done: true, prompt_eval_count: 14, eval_count: 9 }),
    ],
  }),
);

const router = new Router({
  models: {
    chat: [
      {
        provider: "ollama",
        baseUrl: home.origin,
        model: "qwen3:8b",
        // What does not fit is refused, never cut silently; the model stays loaded for half an hour.
        options: { num_ctx: 16_384 },
        keepAlive: "30m",
      },
    ],
  },
});

const { data: stream, routing } = await router.chat.completions
  .create({ model: "chat", messages: [{ role: "user", content: "Hello" }], reasoning_effort: "low", stream: true })
  .withRouting();
for await (const chunk of stream) {
  const { reasoning_content: thought, content } = chunk.choices[0]?.delta ?? {};
  if (thought) console.log(`(${thought})`);
  if (content) process.stdout.write(content);
}
const { usage } = await routing.done;
console.log(`\n${usage?.promptTokens} tokens in, ${usage?.completionTokens} out`);
console.log("sent:", home.requests[0]?.body);

await router.close();
await home.close();
