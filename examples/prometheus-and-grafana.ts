/** You will see: metrics of a few requests, as Prometheus scrapes them from the handler. Dashboard and alerts: docs/prometheus. */
import { Router } from "llm-switchyard";
import { createHandler } from "llm-switchyard/http";
import { prometheus } from "llm-switchyard/telemetry";
import { Registry } from "prom-client";

const registry = new Registry();
const router = new Router({
  models: {
    chat: {
      deployments: [{ id: "shaky", provider: "simulated", model: "demo", failureRate: 1 }],
      fallbacks: ["steady"],
      retries: 0,
    },
    steady: [{ id: "steady", provider: "simulated", model: "demo", price: { input: 1, output: 3 } }],
  },
  plugins: [prometheus({ registry, labels: ["team"] })],
});
const handler = createHandler(router);

for (const team of ["search", "search", "support"]) {
  await router.chat.completions.create(
    { model: "chat", messages: [{ role: "user", content: "Hello" }] },
    { principal: { team } },
  );
}
await new Promise((resolve) => setTimeout(resolve, 20)); // observers are told a moment later

const page = await handler.fetch(new Request("http://localhost/v1/metrics"));
const wanted = /^switchyard_(requests|attempts|tokens|cost_usd|fallbacks)_total\{/;
for (const line of (await page.text()).split("\n")) if (wanted.test(line)) console.log(line);
await router.close();
