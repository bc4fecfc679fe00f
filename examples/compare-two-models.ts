/** You will see: conversations that stay with their variant, what each variant costs, and a shadow that nobody notices. */
import { createMemoryLedger, Router } from "llm-switchyard";

const ledger = createMemoryLedger();
/** Of the copies: time and outcome, beside the id of the request that was copied. */
const copies: { of: string; outcome: string; durationMs: number }[] = [];

const router = new Router({
  ledger,
  plugins: [
    {
      name: "compare",
      onSettled({ shadowOf, outcome, durationMs }) {
        if (shadowOf !== undefined) copies.push({ of: shadowOf, outcome, durationMs });
      },
    },
  ],
  models: {
    chat: {
      deployments: [
        { provider: "simulated", model: "small", reply: "small", ttftMs: 20, price: { input: 0.15, output: 0.6 } },
      ],
      experiment: { name: "bigger-model", variants: { "chat-new": 0.3 } },
      shadow: { group: "chat-local", share: 0.5, maxParallel: 12 },
    },
    "chat-new": [{ provider: "simulated", model: "large", reply: "large", ttftMs: 40, price: { input: 2, output: 8 } }],
    // Not ready yet: one answer in four fails, and nobody learns of it but you.
    "chat-local": [
      {
        provider: "simulated",
        model: "local",
        reply: "local",
        ttftMs: 80,
        failureRate: 0.25,
        price: { input: 0, output: 0 },
      },
    ],
  },
});

const shares = new Map<string, Set<string>>();
await Promise.all(
  Array.from({ length: 60 }, async (_, request) => {
    const sessionId = `conversation-${request % 20}`;
    const { routing } = await router.chat.completions
      .create({ model: "chat", messages: [{ role: "user", content: `Question ${request}` }] }, { sessionId })
      .withRouting();
    const variant = routing.experiment?.variant ?? "";
    shares.set(variant, (shares.get(variant) ?? new Set()).add(sessionId));
  }),
);
for (const [variant, sessions] of shares) console.log(`${variant}: ${sessions.size} of 20 conversations`);

console.log("copies right after the answers:", router.status().groups.find(({ name }) => name === "chat")?.shadow);
await router.close(); // lets copies finish, for at most five seconds
const failed = copies.filter(({ outcome }) => outcome !== "succeeded").length;
console.log(`copies in the end: ${copies.length}, of which ${failed} failed`);

const { rows } = await ledger.report({ by: ["tag"] });
for (const { by, requests, costNanoUsd } of rows) {
  console.log(`${by.tag}: ${requests} requests, ${Number(costNanoUsd) / 1e9} USD`);
}
