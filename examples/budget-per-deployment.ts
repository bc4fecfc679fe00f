/**
 * The committed deployment has a budget of its own, and serves until that has no room for another request; then the next one
 * does. Each request holds the most that it can cost, here about 0.018 USD, until it has ended. You will see who answers, why
 * the first was passed over in the end, and what each has cost.
 */
import { budget, createMemoryLedger, Router } from "llm-switchyard";

const simulated = { provider: "simulated", model: "demo", price: { input: 100, output: 400 } } as const; // USD per million
const ledger = createMemoryLedger();
const router = new Router({
  models: {
    chat: [
      { ...simulated, id: "committed" },
      { ...simulated, id: "pay-as-you-go", tier: 1 },
    ],
  },
  ledger,
  plugins: [budget({ by: "deployment", match: "committed", limitUsd: 0.022, period: "month", name: "commitment" })],
});

for (let question = 1; question <= 5; question++) {
  const { routing } = await router.chat.completions
    .create({ model: "chat", messages: [{ role: "user", content: `Question ${question}` }], max_tokens: 40 })
    .withRouting();
  const passedOver = routing.excluded
    .filter(({ reason }) => reason === "over-budget")
    .map(({ deployment }) => deployment);
  const why = passedOver.length > 0 ? ` (${passedOver.join()} is over its budget)` : "";
  console.log(`${question}: ${routing.deployment} for ${routing.costUsd} USD${why}`);
}

const { rows } = await ledger.report({ by: ["deployment"] });
for (const { by, costNanoUsd } of rows) console.log(`${by.deployment}: ${Number(costNanoUsd) / 1e9} USD`);
await router.close();
