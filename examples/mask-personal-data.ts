/** You will see: an answer that streams with its personal data masked, and one whose data only the model never saw. */
import { pii, Router } from "llm-switchyard";

const question = "Write to alice@example.com that card 4242 4242 4242 4242 was charged.";
/** It repeats the question, and takes its time. */
const echo = { provider: "simulated", model: "demo", msPerToken: 5 } as const;

async function answer(plugin: ReturnType<typeof pii>): Promise<void> {
  const router = new Router({ models: { chat: [echo] }, plugins: [plugin] });
  const stream = await router.chat.completions.create({
    model: "chat",
    stream: true,
    messages: [{ role: "user", content: question }],
  });
  for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  console.log();
  await router.close();
}

// What the model says is masked on its way out; only what could still become an address or a number waits.
await answer(pii({ mode: "output", action: "mask" }));

// What the caller says is masked on its way in, and put back into the answer.
await answer(
  pii({
    action: "mask",
    reversible: true,
    onVerdict: ({ findings }) => console.log("The model saw placeholders for", findings),
  }),
);
