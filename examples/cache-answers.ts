/** You will see: an answer that takes its time once, and is there at once from then on, whole, streamed, and for others. */
import { cache, Router } from "llm-switchyard";

const router = new Router({
  models: { chat: [{ provider: "simulated", model: "demo", reply: "Paris.", ttftMs: 400 }] },
  plugins: [cache({ ttlMs: 60_000 })],
});
const body = {
  model: "chat" as const,
  messages: [{ role: "user" as const, content: "What is the capital of France?" }],
};

async function ask(label: string, options: { organization?: string; noCache?: boolean } = {}): Promise<void> {
  const { organization = "acme", noCache } = options;
  const startedAt = performance.now();
  const { data, routing } = await router.chat.completions
    .create(body, { principal: { organization }, cache: { noCache } })
    .withRouting();
  const tookMs = Math.round(performance.now() - startedAt);
  console.log(label.padEnd(22), String(routing.cache).padEnd(5), `${tookMs} ms`, data.choices[0]?.message.content);
}

await ask("first");
await ask("again");
await ask("another tenant", { organization: "globex" });
await ask("wants a new one", { noCache: true });

// Ten at once: one of them asks the model, the others wait for its answer.
await Promise.all(Array.from({ length: 10 }, (_, index) => ask(`together ${index}`, { organization: "initech" })));

const stream = await router.chat.completions.create({ ...body, stream: true }, { principal: { organization: "acme" } });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
console.log("  (a stream, from the cache)");
await router.close();
