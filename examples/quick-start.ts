/** You will see: an answer, which deployment gave it, and what happened before. */
import { Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: {
      deployments: [
        // Nothing listens there: the call fails, and the next one takes over.
        { provider: "vllm", baseUrl: "http://127.0.0.1:9/v1", model: "llama-3.1-8b" },
        // A simulated model, so that this runs without a key. Put your own here.
        { provider: "simulated", model: "demo", reply: "Hello from Switchyard.", tier: 1 },
      ],
    },
  },
});

const { data, routing } = await router.chat.completions
  .create({ model: "chat", messages: [{ role: "user", content: "Hello" }] })
  .withRouting();

console.log(data.choices[0]?.message.content);
for (const { deployment, outcome, code } of routing.attempts) console.log(deployment, outcome, code ?? "");
await router.close();
