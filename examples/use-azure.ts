/** You will see: Azure's two surfaces, a token of Entra ID that is fetched once, and a prompt that its filter refuses. */
import { ContentPolicyError, Router } from "llm-switchyard";
import { error, respond, startFakeUpstream } from "llm-switchyard/testing";

// Stands in for https://{resource}.openai.azure.com, so that this runs without keys.
const azure = await startFakeUpstream();
const message = { role: "assistant", content: "Hello from Sweden." };
const answer = respond({
  body: {
    model: "gpt-4.1-mini-2025-04-14",
    choices: [{ index: 0, message, finish_reason: "stop" }],
    usage: { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 },
  },
});
azure.next(answer, answer, error(400, { code: "content_filter", message: "The response was filtered." }));

let tokens = 0;
const router = new Router({
  models: {
    // Yours: `resource: "my-resource"` instead of `baseUrl`, and process.env.AZURE_OPENAI_API_KEY.
    v1: [{ provider: "azure", model: "my-gpt-4-1-mini", baseUrl: azure.origin, apiKey: "demo" }],
    urls: [
      {
        provider: "azure",
        model: "my-gpt-4-1-mini",
        baseUrl: azure.origin,
        apiVersion: "2024-10-21",
        auth: "bearer",
        // Yours: the token of `new DefaultAzureCredential().getToken(…)`, and its time to live.
        apiKey: async () => ({ value: `entra-token-${++tokens}`, ttlMs: 45 * 60_000 }),
      },
    ],
  },
});

for (const model of ["v1", "urls", "urls"] as const) {
  try {
    const reply = await router.chat.completions.create({
      model,
      messages: [{ role: "user", content: "Where are you?" }],
    });
    console.log(`${model}: ${reply.choices[0]?.message.content}`);
  } catch (failure) {
    if (!(failure instanceof ContentPolicyError)) throw failure;
    console.log(`${model}: ${failure.code}, ${failure.message}`);
  }
  const { path, query, headers } = azure.requests.at(-1) ?? {};
  console.log(`   ${[path, query].filter(Boolean).join("?")} ${headers?.["api-key"] ?? headers?.authorization}`);
}

await router.close();
await azure.close();
