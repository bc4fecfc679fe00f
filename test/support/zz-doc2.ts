import { Router } from "../../src/index.js";
import OpenAI from "openai";

const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] } });
const openai = new OpenAI({ apiKey: "in-process", baseURL: "http://switchyard/v1", fetch: router.fetch });
await openai.chat.completions.create({ model: "chat", messages: [{ role: "user", content: "Hello" }] });
