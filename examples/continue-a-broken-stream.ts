/** You will see: one replica dies in the middle of its answer, the other goes on, and the caller reads one whole stream. */
import { Router } from "llm-switchyard";

const reply = "Switchyard goes on where a replica stopped, so that nobody has to begin again.";
const router = new Router({
  models: {
    chat: {
      deployments: [
        // Breaks off after nine tokens, every time.
        { id: "gpu-a", provider: "simulated", model: "llama", reply, failureRate: 1, failAfterTokens: 9 },
        { id: "gpu-b", provider: "simulated", model: "llama", reply, tier: 1, msPerToken: 20 },
      ],
      midStream: "continue",
    },
  },
});

const { data, routing } = await router.chat.completions
  .create({ model: "chat", messages: [{ role: "user", content: "What do you do?" }], stream: true })
  .withRouting();
for await (const chunk of data) process.stdout.write(chunk.choices[0]?.delta.content ?? "");

const { attempts, resumed, usage } = await routing.done;
console.log(`\n\nresumed: ${resumed}, ${usage?.completionTokens} tokens of both attempts`);
for (const attempt of attempts) {
  console.log(`${attempt.deployment}: ${attempt.outcome}${attempt.resumed ? ", went on with the answer" : ""}`);
}
await router.close();
