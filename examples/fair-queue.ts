/** You will see: one tenant's crowd waits for two slots, and another tenant's single requests are served in between. */
import { Router } from "llm-switchyard";

const router = new Router({
  models: {
    // Yours: `provider: "vllm"` with a `baseUrl`, and as many slots as the engine has.
    chat: [{ provider: "simulated", model: "demo", ttftMs: 60, maxParallel: 2 }],
  },
});

async function ask(organization: string, number: number, priority?: "batch"): Promise<void> {
  const { routing } = await router.chat.completions
    .create(
      { model: "chat", messages: [{ role: "user", content: `Question ${number}` }] },
      { principal: { organization }, priority },
    )
    .withRouting();
  console.log(`${organization} ${number} waited ${Math.round(routing.queuedMs)} ms`);
}

const crowd = Array.from({ length: 12 }, (_, number) => ask("crowd", number));
const nightly = Array.from({ length: 2 }, (_, number) => ask("nightly", number, "batch"));
const few = Array.from({ length: 3 }, (_, number) => ask("few", number));
console.log("waiting:", router.status().groups[0]?.queued);
await Promise.all([...crowd, ...nightly, ...few]);
await router.close();
