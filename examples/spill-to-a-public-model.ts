/** You will see: your own model answers while it is quick; as its line grows, what would be late goes to a public one. */
import { Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: {
      deployments: [
        // Stands in for your GPU: yours is `provider: "vllm", baseUrl: "http://gpu-a:8000"`.
        { id: "own", provider: "simulated", model: "own", reply: "At home.", ttftMs: 60 },
        // Stands in for OpenAI or another provider that is paid per token.
        { id: "public", provider: "simulated", model: "public", reply: "Outside.", ttftMs: 40, tier: 1 },
      ],
      // The first token may take so long by prediction. 500 serves well in production.
      spillMs: 150,
    },
  },
});

async function ask(options: { require?: { deployment: string } } = {}): Promise<string> {
  const messages = [{ role: "user" as const, content: "Hello" }];
  const call = router.chat.completions.create({ model: "chat", messages, stream: true }, options);
  const { data, routing } = await call.withRouting();
  for await (const _ of data);
  const [passedOver] = routing.excluded.filter(({ reason }) => reason === "predicted-too-slow");
  const why = passedOver ? ` (own would take ${Math.round(passedOver.predictedTtftMs ?? 0)} ms)` : "";
  return `${routing.deployment}${why}`;
}

// Nothing is predicted of what has never answered: it gets two requests at a time until it has.
await ask({ require: { deployment: "public" } });

console.log("One after the other:");
for (let turn = 0; turn < 4; turn++) console.log(" ", await ask());

console.log("Eight at once:");
for (const served of await Promise.all(Array.from({ length: 8 }, () => ask()))) console.log(" ", served);

console.log("And quiet again:");
console.log(" ", await ask());

await router.close();
