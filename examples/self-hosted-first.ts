/** You will see: your own vLLM answers; what it cannot take, and what comes while it is down, goes to OpenAI. */
import { type ChatMessage, Router } from "llm-switchyard";
import { error, reply, startFakeUpstream } from "llm-switchyard/testing";

// Stand in for your GPU machine and for api.openai.com, so that this runs without keys.
const gpu = await startFakeUpstream();
const openai = await startFakeUpstream();
gpu.always(reply({ text: "Answered at home." }));
openai.always(reply({ text: "Answered by OpenAI." }));

const router = new Router({
  models: {
    chat: [
      // Yours: baseUrl "http://gpu-a:8000".
      { id: "home", provider: "vllm", model: "qwen3-8b", baseUrl: gpu.origin, contextWindow: 32_768 },
      // The higher tier serves while no deployment of the lower one can. Yours: without `baseUrl`, and with your key.
      { id: "public", tier: 1, provider: "openai", model: "gpt-4.1-mini", baseUrl: openai.url, apiKey: "sk-demo" },
    ],
  },
});

async function ask(about: string, message: ChatMessage): Promise<void> {
  // `top_k` is vLLM's own: passed on there, left out for OpenAI, which would refuse the request.
  const request = { model: "chat" as const, messages: [message], top_k: 20 };
  const { data, routing } = await router.chat.completions.create(request).withRouting();
  const reasons = routing.excluded.map(({ deployment, reason }) => `${deployment}: ${reason}`);
  console.log(`${about}: ${data.choices[0]?.message.content}`, { leftOut: routing.dropped, reasons });
}

await ask("a question", { role: "user", content: "Hello" });

const file = { filename: "bill.pdf", file_data: "data:application/pdf;base64,JVBERi0xLjQ=" };
await ask("a file, which vLLM cannot read", { role: "user", content: [{ type: "file", file }] });

gpu.always(error(503, { message: "Draining" }));
await ask("while the GPU is down", { role: "user", content: "Hello" });

await router.close();
await gpu.close();
await openai.close();
