/** OpenAI's own SDK, called directly: what a service uses that has no router. */
import OpenAI from "openai";
import { VERSION } from "openai/version";
import { REQUEST_BODY, STREAM_BODY } from "../payloads.js";
import type { Variant } from "./variant.js";

function clientOf(origin: string): OpenAI {
  return new OpenAI({ apiKey: "sk-bench", baseURL: `${origin}/v1`, maxRetries: 0 });
}

function completion(origin: string) {
  const client = clientOf(origin);
  return async () => {
    const reply = await client.chat.completions.create(REQUEST_BODY);
    return reply.choices[0]?.message.content?.length ?? 0;
  };
}

function stream(origin: string) {
  const client = clientOf(origin);
  return async () => {
    let length = 0;
    for await (const chunk of await client.chat.completions.create(STREAM_BODY)) {
      length += chunk.choices[0]?.delta.content?.length ?? 0;
    }
    return length;
  };
}

export const openaiSdk: Variant = { version: `openai ${VERSION}`, completion, stream };
