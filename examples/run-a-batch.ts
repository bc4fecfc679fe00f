/** You will see: 200 requests, 20 at a time, with progress; the ones that fail end as errors, and nothing else stops. */
import { Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: {
      deployments: [
        { provider: "simulated", model: "demo", ttftMs: 50, failureRate: 0.02, failure: "invalid_request" },
      ],
      cooldown: false,
    },
  },
});

function* requests() {
  for (let index = 0; index < 200; index++) {
    yield {
      id: `request-${index}`,
      body: { model: "chat" as const, messages: [{ role: "user" as const, content: `${index}` }] },
    };
  }
}

const failures: string[] = [];
for await (const result of router.batch(requests(), {
  concurrency: 20,
  onProgress({ completed, failed, inFlight, perSecond }) {
    if (completed % 50 === 0) console.log({ completed, failed, inFlight, perSecond: Math.round(perSecond) });
  },
})) {
  if ("error" in result) failures.push(`${result.id}: ${result.error.code}`);
}
console.log(failures);
await router.close();
