/**
 * Vercel's AI SDK over a router: text, a stream, a tool, structured output and embeddings, with a broken deployment
 * that nobody notices. You will see each answer, and which deployment gave it.
 */
import { embed, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { Router } from "llm-switchyard";
import { createSwitchyard } from "llm-switchyard/ai-sdk";
import { error, reply, startFakeUpstream } from "llm-switchyard/testing";
import { z } from "zod";

const [broken, healthy] = [await startFakeUpstream(), await startFakeUpstream()];
broken.always(error(503));
// The first question about the weather is answered with a tool call, the next one with what the tool said.
healthy.when(({ text }) => {
  if (!text.includes('"tools"')) return undefined;
  return text.includes('"role":"tool"')
    ? reply({ text: "It is 21 °C in Bern." })
    : reply({ toolCalls: [{ name: "temperature", arguments: { city: "Bern" } }] });
});

const router = new Router({
  models: {
    chat: [
      { id: "broken", provider: "openai-compatible", baseUrl: broken.url, model: "small" },
      { id: "healthy", provider: "openai-compatible", baseUrl: healthy.url, model: "small", tier: 1 },
    ],
    embed: [{ provider: "simulated", model: "vectors" }],
  },
});
const switchyard = createSwitchyard(router);

const { text, providerMetadata } = await generateText({ model: switchyard("chat"), prompt: "Good morning!" });
console.log(text, providerMetadata?.switchyard);

for await (const part of streamText({ model: switchyard("chat"), prompt: "One word after the other" }).textStream) {
  process.stdout.write(`${part}|`);
}
console.log();

const weather = await generateText({
  model: switchyard("chat"),
  prompt: "How warm is it in Bern?",
  tools: {
    temperature: tool({
      description: "The temperature in a city, in °C",
      inputSchema: z.object({ city: z.string() }),
      execute: async () => 21,
    }),
  },
  stopWhen: stepCountIs(3),
});
console.log(`${weather.text} (${weather.steps.length} steps)`);

const person = await generateText({
  model: switchyard("chat"),
  prompt: "Make up a person.",
  output: Output.object({ schema: z.object({ name: z.enum(["Ada", "Bob"]), age: z.number().min(18) }) }),
});
console.log(person.output);

const { embedding } = await embed({ model: switchyard.embeddingModel("embed"), value: "a cat on a mat" });
console.log(`${embedding.length} dimensions`);

await router.close();
await Promise.all([broken.close(), healthy.close()]);
