/** You will see: the self-hosted model fails, and the public one answers. The caller notices nothing. */
import { callbacks, Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: {
      deployments: [{ id: "self-hosted", provider: "simulated", model: "llama", failureRate: 1, failure: "server" }],
      fallbacks: ["public"],
      retries: 1,
    },
    public: [{ id: "public", provider: "simulated", model: "big", reply: "The public model answers." }],
  },
  plugins: [callbacks({ onFallback: ({ from, to, code }) => console.log(`fallback: ${from} → ${to} (${code})`) })],
});

const reply = await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
console.log(reply.choices[0]?.message.content);
await router.close();
