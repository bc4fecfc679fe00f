/** You will see: every conversation goes on where its prompt was read before; a session does, whatever it asks, over HTTP too. */
import { type ChatMessage, Router } from "llm-switchyard";

const router = new Router({
  models: {
    chat: {
      // Yours: `provider: "vllm"` with a `baseUrl` each. Affinity is on unless you say `affinity: false`.
      deployments: ["gpu-a", "gpu-b", "gpu-c"].map((id) => ({
        id,
        provider: "simulated" as const,
        model: "demo",
        ttftMs: 20,
      })),
    },
  },
});

const handbook = "Answer as the handbook of the railway says. ".repeat(100);

async function converse(question: string): Promise<void> {
  const messages: ChatMessage[] = [
    { role: "system", content: `${question} ${handbook}` },
    { role: "user", content: question },
  ];
  for (let turn = 1; turn <= 3; turn++) {
    const { data, routing } = await router.chat.completions.create({ model: "chat", messages }).withRouting();
    const [attempt] = routing.attempts;
    console.log(`${question} turn ${turn}: ${routing.deployment}, ${attempt?.matchedTokens} tokens known there`);
    messages.push(
      { role: "assistant", content: data.choices[0]?.message.content ?? "" },
      { role: "user", content: "Why?" },
    );
  }
}

await Promise.all(["When does the gate close?", "Who sets the points?"].map(converse));

// Long prompts that have nothing in common, of one session.
for (const task of ["Plan a trip", "Translate it", "Shorten it"]) {
  const content = `${task}. `.repeat(500);
  const body = { model: "chat" as const, messages: [{ role: "user" as const, content }] };
  const { routing } = await router.chat.completions.create(body, { sessionId: "trip-7" }).withRouting();
  console.log(`session: ${routing.deployment}`);
}

// Over HTTP a header names the session; `fetch` stands for a client of your server.
for (const question of ["Which platform?", "Which carriage?"]) {
  const response = await router.fetch("http://switchyard/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", "x-switchyard-session-id": "trip-8" },
    body: JSON.stringify({ model: "chat", messages: [{ role: "user", content: `${question} `.repeat(500) }] }),
  });
  console.log(`session over HTTP: ${response.headers.get("x-switchyard-deployment")}`);
}
await router.close();
