/** You will see: a router that lists and takes what an engine has, also after that has changed. */
import { setTimeout as sleep } from "node:timers/promises";
import { Router, RouterError } from "llm-switchyard";
import { respond, startFakeUpstream } from "llm-switchyard/testing";

// Stands for vLLM, so that this runs without it.
const engine = await startFakeUpstream();
let models = ["qwen3-8b"];
engine.when(({ path }) => {
  if (path === "/v1/models") return respond({ body: { object: "list", data: models.map((id) => ({ id })) } });
  if (path === "/metrics") return respond({ body: "vllm:num_requests_running 3\nvllm:kv_cache_usage_perc 0.4\n" });
  return undefined;
});

const router = new Router({
  models: {
    "gpu/*": [
      {
        id: "gpu-a",
        provider: "vllm",
        baseUrl: engine.url,
        model: "*",
        // Once a minute (`true`) is often enough outside of examples.
        discover: { intervalMs: 1_000 },
        loadSignals: true,
      },
    ],
  },
});
const names = async () => (await router.models.list()).data.map(({ id }) => id);
const ask = async (model: `gpu/${string}`) => {
  try {
    const { choices } = await router.chat.completions.create({ model, messages: [{ role: "user", content: "Hello" }] });
    console.log(`${model}: ${choices[0]?.message.content}`);
  } catch (error) {
    console.log(`${model}: ${RouterError.isRouterError(error) ? error.code : error}`);
  }
};

console.log("the engine has", await names());
await ask("gpu/qwen3-8b");
await ask("gpu/qwen3-32b");

models = ["qwen3-32b"];
while (!(await names()).includes("gpu/qwen3-32b")) await sleep(50);
console.log("the engine has", await names());
await ask("gpu/qwen3-32b");

const [gpu] = router.status().groups[0]?.deployments ?? [];
console.log("discovered:", gpu?.discovery?.models, "- load:", gpu?.load);

await router.close();
await engine.close();
