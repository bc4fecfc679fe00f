/** You will see: requests in Europe stay in Europe while it has room, by a strategy of your own. */
import { Router, type Strategy } from "llm-switchyard";

const europeFirst: Strategy = {
  name: "europe-first",
  pick(candidates, { random }) {
    const european = candidates.filter(({ region }) => region === "eu");
    const pool = european.length > 0 ? european : candidates;
    const leastStreams = Math.min(...pool.map(({ streams }) => streams));
    const best = pool.filter(({ streams }) => streams === leastStreams);
    const chosen = best[Math.floor(random.next() * best.length)] ?? candidates[0];
    if (!chosen) throw new Error("candidates are never empty");
    return chosen;
  },
};

const router = new Router({
  models: {
    chat: {
      strategy: europeFirst,
      deployments: [
        { id: "frankfurt", provider: "simulated", model: "demo", region: "eu", maxParallel: 2, ttftMs: 50 },
        { id: "virginia", provider: "simulated", model: "demo", region: "us", ttftMs: 50 },
      ],
    },
  },
});

const answers = await Promise.all(
  Array.from({ length: 5 }, () =>
    router.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] }).withRouting(),
  ),
);
console.log(answers.map(({ routing }) => routing.deployment));
await router.close();
