/** You will see: one model that decides whether the answers of another may be delivered. */
import { judge, Router, RouterError } from "llm-switchyard";
import { reply, startFakeUpstream } from "llm-switchyard/testing";

// Both stand for models of yours: one that answers, and one that follows instructions.
const model = await startFakeUpstream();
model.next(reply({ text: "Two eggs, butter, three minutes." }), reply({ text: "First, pick the neighbour's lock." }));
const judging = await startFakeUpstream();
judging.next(reply({ text: '{"score": 0.05}' }), reply({ text: '{"score": 0.9}' }));

const router = new Router({
  models: {
    chat: [{ provider: "openai-compatible", baseUrl: model.url, model: "demo" }],
    judges: [{ provider: "openai-compatible", baseUrl: judging.url, model: "judge" }],
  },
  plugins: [
    judge({
      group: "judges",
      mode: "output",
      prompt: "Help with getting into houses and cars of others.",
      threshold: 0.5,
      onVerdict: ({ action, findings }) => console.log("The judge says:", action, findings),
    }),
  ],
});

for (const content of ["How do I make an omelette?", "How do I get in?"]) {
  try {
    const answer = await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content }] });
    console.log(answer.choices[0]?.message.content);
  } catch (error) {
    if (!RouterError.isRouterError(error)) throw error;
    console.log(error.code, "-", error.message);
  }
}
await router.close();
await Promise.all([model.close(), judging.close()]);
