/** You will see: an answer as it is written, then what it used. */
import { Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: [
      {
        provider: "simulated",
        model: "demo",
        reply: "A stream moves to another deployment until its first content, and never after.",
        ttftMs: 200,
        msPerToken: 30,
        price: { input: 0.15, output: 0.6 },
      },
    ],
  },
});

const { data: stream, routing } = await router.chat.completions
  .create({ model: "chat", messages: [{ role: "user", content: "How?" }], stream: true })
  .withRouting();
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");

const { usage, costUsd, ttftMs } = await routing.done;
console.log(`\nfirst token after ${Math.round(ttftMs ?? 0)} ms, ${usage?.completionTokens} tokens, $${costUsd}`);
await router.close();
