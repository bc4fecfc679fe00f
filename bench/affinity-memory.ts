/**
 * Does the memory of prefix affinity stay flat? Sends prompts that nobody sent before through what every request of a group
 * goes through (chain, fingerprint, look-up, entry at the start, entry at the end), and prints what the process holds.
 *
 *     npx tsx --expose-gc bench/affinity-memory.ts                  ten million prompts, 64 deployments
 *     npx tsx --expose-gc bench/affinity-memory.ts --prompts 100000 --deployments 1000
 */
import { parseArgs } from "node:util";
import type { ChatRequest } from "../src/protocol/chat.js";
import { fingerprintOfChat } from "../src/routing/affinity/fingerprint.js";
import { defaultAffinity } from "../src/routing/affinity/options.js";
import { chainOfChat, chainWithReply } from "../src/routing/affinity/prefix-chain.js";
import { PrefixMemory } from "../src/routing/affinity/prefix-memory.js";
import { textOf } from "../src/testing/simulator/workload.js";

const { values } = parseArgs({
  options: { prompts: { type: "string", default: "10000000" }, deployments: { type: "string", default: "64" } },
});
const prompts = countOf("--prompts", values.prompts);
const ids = Array.from({ length: countOf("--deployments", values.deployments) }, (_, index) => `deployment-${index}`);

/** About 800 tokens, as the median of chat traffic: a system prompt that some share, and a question of its own. */
const SYSTEM_TOKENS = 400;
const QUESTION_TOKENS = 400;
const SYSTEM_PROMPTS = 1_000;
const LINES = 20;
const REQUESTS_PER_SECOND = 1_000;

const memory = new PrefixMemory();
memory.configure(new Map(ids.map((id) => [id, { fingerprint: id, settings: defaultAffinity }])));
process.stdout.write("   prompts    chunks  conversations  heap MB  buffers MB  RSS MB  CPU µs/prompt\n");
let hits = 0;
let since = process.cpuUsage();
for (let prompt = 1; prompt <= prompts; prompt++) {
  const now = (1_000 * prompt) / REQUESTS_PER_SECOND;
  const body: ChatRequest = {
    model: "chat",
    messages: [
      { role: "system", content: textOf(prompt % SYSTEM_PROMPTS, SYSTEM_TOKENS) },
      { role: "user", content: textOf(prompt, QUESTION_TOKENS) },
    ],
  };
  const chain = chainOfChat(body, undefined);
  memory.index.match(chain, now - defaultAffinity.ttlMs);
  if (memory.index.matchedCount > 0) hits += 1;
  const id = ids[prompt % ids.length] as string; // in range
  const prefixes = memory.of(id);
  const fingerprint = fingerprintOfChat(body, { tenant: undefined, model: "chat" });
  if (fingerprint) memory.hints.note(fingerprint, id, now);
  prefixes?.add(chain, now);
  prefixes?.add(chainWithReply(chain, textOf(-prompt, 180), true), now + 500);
  if (prompt % Math.max(1, Math.floor(prompts / LINES)) === 0) print(prompt);
}
process.stdout.write(`${((100 * hits) / prompts).toFixed(1)} % of the prompts began like one before\n`);

function print(prompt: number): void {
  const used = process.cpuUsage(since);
  const perPrompt = (used.user + used.system) / Math.max(1, Math.floor(prompts / LINES));
  globalThis.gc?.();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const cells: readonly (readonly [text: string, width: number])[] = [
    [String(prompt), 10],
    [String(memory.index.size), 10],
    [String(memory.hints.size), 15],
    [megabytes(heapUsed), 9],
    [megabytes(arrayBuffers), 12],
    [megabytes(rss), 8],
    [perPrompt.toFixed(1), 15],
  ];
  process.stdout.write(`${cells.map(([text, width]) => text.padStart(width)).join("")}\n`);
  since = process.cpuUsage();
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}

function countOf(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`Expected ${option} to be an integer from 1, received "${text}"`);
  return count;
}
