/** You will see: a Claude model asks for a tool, gets its result and answers; the caller speaks OpenAI's format throughout. */
import { type ChatMessage, Router, type Tool } from "llm-switchyard";
import { respond, startFakeUpstream } from "llm-switchyard/testing";

// Stands in for api.anthropic.com, so that this runs without a key.
const anthropic = await startFakeUpstream();
const usage = { input_tokens: 40, output_tokens: 12 };
const answer = (stop_reason: string, ...content: object[]) => respond({ body: { content, stop_reason, usage } });
anthropic.next(
  answer("tool_use", { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Oslo" } }),
  answer("end_turn", { type: "text", text: "It is 4 degrees in Oslo." }),
);

const router = new Router({
  models: {
    // Yours: without `baseUrl`, and with process.env.ANTHROPIC_API_KEY.
    claude: [{ provider: "anthropic", model: "claude-sonnet-4-5", apiKey: "sk-ant-demo", baseUrl: anthropic.origin }],
  },
});

const weather: Tool = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
const messages: ChatMessage[] = [{ role: "user", content: "How is the weather in Oslo?" }];
for (;;) {
  const reply = await router.chat.completions.create({ model: "claude", messages, tools: [weather] });
  const message = reply.choices[0]?.message;
  if (!message?.tool_calls) {
    console.log(message?.content);
    break;
  }
  messages.push(message);
  for (const call of message.tool_calls) {
    if (call.type !== "function") continue;
    console.log(`the model calls ${call.function.name}(${call.function.arguments})`);
    messages.push({ role: "tool", tool_call_id: call.id, content: "4 degrees" });
  }
}
console.log("what reached Anthropic:", JSON.stringify(anthropic.requests[1]?.body.messages));
await router.close();
await anthropic.close();
