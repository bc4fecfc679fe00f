/** You will see: a guardrail of your own in a few lines, which masks one answer and blocks a request. */
import { guardrail, Router, RouterError } from "llm-switchyard";

const noShouting = guardrail({
  name: "no-shouting",
  mode: "output",
  action: "mask",
  stream: "window", // sentence by sentence
  check: (text) =>
    [...text.matchAll(/\b[A-Z]{4,}\b/g)].map(({ 0: word, index }) => ({
      category: "shouting",
      start: index,
      end: index + word.length,
    })),
});

const oneTopic = guardrail({
  name: "one-topic",
  // Stands for a question to a service of yours: it may take its time, the model is asked meanwhile.
  mode: "parallel",
  check: async (text, { role }) => (role === "user" && /weather/i.test(text) ? { category: "off-topic" } : undefined),
});

const router = new Router({
  models: { chat: [{ provider: "simulated", model: "demo", reply: "Of course. I am HAPPY to help. Really." }] },
  plugins: [noShouting, oneTopic],
});

for (const content of ["Can you help me?", "How is the weather?"]) {
  try {
    const stream = await router.chat.completions.create({
      model: "chat",
      stream: true,
      messages: [{ role: "user", content }],
    });
    for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
    console.log();
  } catch (error) {
    if (!RouterError.isRouterError(error)) throw error;
    console.log(error.code, "-", error.message);
  }
}
await router.close();
