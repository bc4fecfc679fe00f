/** You will see: a request that is signed for AWS, and an answer that comes in AWS' binary frames. */
import { EventStreamCodec } from "@smithy/eventstream-codec";
import { Router } from "llm-switchyard";
import { respond, startFakeUpstream } from "llm-switchyard/testing";

// Stands for AWS, so that this runs without keys. Leave `baseUrl` out to call the real one in `region`.
const aws = await startFakeUpstream();
aws.next(
  respond({
    headers: { "content-type": "application/vnd.amazon.eventstream" },
    body: [
      frame("messageStart", { role: "assistant" }),
      frame("contentBlockDelta", { delta: { text: "Hello from " }, contentBlockIndex: 0 }),
      frame("contentBlockDelta", { delta: { text: "Frankfurt." }, contentBlockIndex: 0 }),
      frame("messageStop", { stopReason: "end_turn" }),
      frame("metadata", { usage: { inputTokens: 9, outputTokens: 5, totalTokens: 14 } }),
    ],
  }),
);

const router = new Router({
  models: {
    chat: [
      {
        provider: "bedrock",
        model: "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        region: "eu-central-1",
        baseUrl: aws.origin,
        // Or `apiKey`, or `credentials: fromNodeProviderChain()` of `@aws-sdk/credential-providers`.
        accessKeyId: "AKIDEXAMPLE",
        secretAccessKey: "a-secret-that-only-this-example-knows",
      },
    ],
  },
});

const { data: stream, routing } = await router.chat.completions
  .create({ model: "chat", messages: [{ role: "user", content: "Where are you?" }], seed: 1, stream: true })
  .withRouting();
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");

const { usage, dropped } = await routing.done;
console.log(`\n${usage?.completionTokens} tokens; left out, for Bedrock has no such parameter: ${dropped}`);
const { path, headers } = aws.requests[0] ?? {};
console.log(path);
console.log(headers?.authorization?.replace(/[0-9a-f]{64}/, "…"));

await router.close();
await aws.close();

function frame(type: string, payload: object): Uint8Array {
  const codec = new EventStreamCodec(String, (text) => new TextEncoder().encode(text));
  const text = (value: string) => ({ type: "string" as const, value });
  const headers = { ":event-type": text(type), ":message-type": text("event") };
  return codec.encode({ headers, body: new TextEncoder().encode(JSON.stringify(payload)) });
}
