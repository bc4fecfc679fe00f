/** You will see: providers that stall now and then, and what a second call beside the stalled one does about it. */
import { Router } from "llm-switchyard";
import { reply, startFakeUpstream } from "llm-switchyard/testing";

const CALLS = 100;

/** Stands for a provider of yours: one call in 15 stalls for half a second. */
async function provider() {
  const upstream = await startFakeUpstream();
  let asked = 0;
  upstream.when(() => reply({ text: "Hello.", delayMs: ++asked % 15 === 0 ? 500 : 10 }));
  return upstream;
}

async function measure(hedge: boolean): Promise<void> {
  const [east, west] = [await provider(), await provider()];
  const router = new Router({
    models: {
      chat: {
        deployments: [
          { id: "east", provider: "openai-compatible", baseUrl: east.url, model: "demo" },
          { id: "west", provider: "openai-compatible", baseUrl: west.url, model: "demo" },
        ],
        // `true` waits for 200 ms and 50 answers, and sends at most one for 20 requests, which is right for real providers.
        hedge: hedge && { minDelayMs: 40, minSamples: 10 },
      },
    },
  });
  const firstTokens: number[] = [];
  let calls = 0;
  for (let call = 0; call < CALLS; call++) {
    const { data: stream, routing } = await router.chat.completions
      .create({ model: "chat", messages: [{ role: "user", content: "Hello" }], stream: true })
      .withRouting();
    for await (const _ of stream) {
      // Yours shows it.
    }
    const { ttftMs = 0, attempts } = await routing.done;
    firstTokens.push(ttftMs);
    calls += attempts.length;
  }
  firstTokens.sort((a, b) => a - b);
  const p97 = Math.round(firstTokens[Math.ceil(0.97 * CALLS) - 1] ?? 0);
  const how = hedge ? "with hedging   " : "without hedging";
  console.log(`${how}: p97 of the first token ${p97} ms, ${calls} calls for ${CALLS} requests`);
  if (hedge) console.log(router.status().groups[0]?.hedge);
  await router.close();
  await east.close();
  await west.close();
}

await measure(false);
await measure(true);
