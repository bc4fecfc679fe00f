/**
 * npm run demo            real HTTP upstreams on loopback, one slow and one failing; traffic from OpenAI's SDK
 * npm run demo -- --live  the models that are really there: keys in the environment, engines on this machine
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { createHandler } from "../../src/http/index.js";
import { callbacks, Router, type RoutingRecord } from "../../src/index.js";
import { startSimulatedUpstream } from "../../src/testing/index.js";
import { runLive } from "./live.js";
import { table } from "./table.js";

const say = (text = "") => console.log(text);
const heading = (text: string) => say(`\n\u001b[1m${text}\u001b[0m`);

const REASONS: Record<string, string> = {
  "gpu-a": "fastest and healthy, so it gets the most",
  "gpu-b": "slow: used less the more that is learned about it",
  "gpu-c": "its failures were retried elsewhere; it cools down",
  cloud: "the fallback, for when no GPU server can serve",
};

if (process.argv.includes("--live")) await runLive({ say, heading });
else await runSimulated();

async function runSimulated(): Promise<void> {
  heading("1. Five model servers start on this machine, speaking OpenAI's format over real HTTP");
  const llama = { reply: "Switchyard sends each request to the best replica.", ttftMs: 40, msPerToken: 4, jitter: 0.3 };
  const start = (failureRate = 0, latencyFactor = 1) =>
    startSimulatedUpstream({ models: { "llama-3.1-8b": llama }, failureRate, latencyFactor });
  const [gpuA, gpuB, gpuC, cloud, vectors] = await Promise.all([
    start(),
    start(0, 8),
    start(0.7),
    startSimulatedUpstream({ models: { "big-model": { ...llama, reply: "The cloud answers.", ttftMs: 120 } } }),
    startSimulatedUpstream({ models: { "embed-small": { ttftMs: 10, embeddingDimensions: 256 } } }),
  ]);
  say(
    table([
      { server: "gpu-a", url: gpuA.url, behaviour: "healthy" },
      { server: "gpu-b", url: gpuB.url, behaviour: "eight times slower" },
      { server: "gpu-c", url: gpuC.url, behaviour: "answers 500 to 7 of 10 requests" },
      { server: "cloud", url: cloud.url, behaviour: "healthy, and costs money" },
      { server: "embedder", url: vectors.url, behaviour: "healthy" },
    ]),
  );

  heading("2. One Router over them, mounted as an OpenAI-compatible server");
  const served = new Map<string, { ok: number; failed: number; durations: number[] }>();
  const router = new Router({
    models: {
      chat: {
        deployments: [
          { id: "gpu-a", provider: "vllm", baseUrl: gpuA.url, model: "llama-3.1-8b" },
          { id: "gpu-b", provider: "vllm", baseUrl: gpuB.url, model: "llama-3.1-8b" },
          { id: "gpu-c", provider: "vllm", baseUrl: gpuC.url, model: "llama-3.1-8b" },
        ],
        fallbacks: ["cloud"],
      },
      cloud: [
        {
          id: "cloud",
          provider: "openai-compatible",
          baseUrl: cloud.url,
          model: "big-model",
          price: { input: 2.5, output: 10 },
        },
      ],
      embed: [{ id: "embedder", provider: "openai-compatible", baseUrl: vectors.url, model: "embed-small" }],
    },
    aliases: { "gpt-4": "chat" },
    plugins: [
      callbacks({
        onAttempt(event) {
          if (event.type !== "attempt-ended") return;
          const row = served.get(event.deployment) ?? { ok: 0, failed: 0, durations: [] };
          served.set(event.deployment, row);
          if (event.outcome === "ok") row.ok += 1;
          else row.failed += 1;
          row.durations.push(event.durationMs ?? 0);
        },
        onCooldown({ type, deployment, cause }) {
          const what = type === "deployment-cooled" ? `is left alone for a while (${cause})` : "is back";
          say(`     \u001b[2m${deployment} ${what}\u001b[0m`);
        },
      }),
    ],
  });
  const server = createServer(createHandler(router).node).listen(0, "127.0.0.1");
  await once(server, "listening");
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const openai = new OpenAI({ apiKey: "not-needed", baseURL, maxRetries: 0 });
  say(`  ${baseURL}   models: ${(await openai.models.list()).data.map(({ id }) => id).join(", ")}`);

  heading("3. 120 chat completions from OpenAI's SDK, eight at a time");
  let errors = 0;
  const startedAt = performance.now();
  const queue = Array.from({ length: 120 }, (_, index) => index);
  const worker = async () => {
    while (queue.pop() !== undefined) {
      try {
        await openai.chat.completions.create({ model: "gpt-4", messages: [{ role: "user", content: "Where to?" }] });
      } catch (error) {
        errors += 1;
        say(`  ${String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const seconds = (performance.now() - startedAt) / 1000;
  say(`  ${120 - errors} answered, ${errors} errors reached the caller, ${seconds.toFixed(1)} s\n`);
  say(
    table(
      [...served]
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([deployment, { ok, failed, durations }]) => ({
          deployment,
          served: ok,
          "failed attempts": failed,
          "median ms": Math.round(median(durations)),
          why: REASONS[deployment] ?? "",
        })),
    ),
  );

  heading("4. A stream");
  const stream = await openai.chat.completions.create({
    model: "chat",
    messages: [{ role: "user", content: "Tell me." }],
    stream: true,
  });
  process.stdout.write("  ");
  for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  say();

  heading("5. The same object without a server: how one request was routed");
  await Promise.all([gpuA, gpuB, gpuC].map((upstream) => upstream.refuse()));
  say("  (the three GPU servers are gone now)");
  const { data, routing } = await router.chat.completions
    .create({ model: "chat", messages: [{ role: "user", content: "Still there?" }] })
    .withRouting();
  say(`  "${data.choices[0]?.message.content}"`);
  say(table(attemptRows(routing)));
  say(`  cost: $${routing.costUsd?.toFixed(6)}`);

  heading("6. Embeddings, and a batch with progress");
  const { data: embeddings } = await openai.embeddings.create({ model: "embed", input: ["a switch", "a yard"] });
  say(`  ${embeddings.length} vectors of ${embeddings[0]?.embedding.length} dimensions`);
  const questions = Array.from({ length: 40 }, (_, index) => ({
    id: `question-${index}`,
    body: { model: "cloud" as const, messages: [{ role: "user" as const, content: `Question ${index}` }] },
  }));
  let last = "";
  let answers = 0;
  for await (const result of router.batch(questions, {
    concurrency: 10,
    onProgress: ({ completed, total, perSecond, etaMs }) => {
      last = `${completed} of ${total}, ${perSecond.toFixed(0)} per second, ${((etaMs ?? 0) / 1000).toFixed(1)} s to go`;
      if (completed % 10 === 0) say(`  ${last}`);
    },
  })) {
    if ("data" in result) answers += 1;
  }
  say(`  ${answers} of ${questions.length} answered, in order`);

  heading("7. What the router knows now");
  const { groups, accepted, outcomes, inFlight } = router.status();
  say(
    table(
      groups.flatMap((group) =>
        group.deployments.map(({ id, availability, successRate, streams }) => ({
          group: group.name,
          deployment: id,
          state: availability,
          "success rate": successRate.toFixed(2),
          "in flight": streams,
        })),
      ),
    ),
  );
  const ended = Object.entries(outcomes).filter(([, count]) => count > 0);
  say(
    `  ${accepted} requests: ${ended.map(([outcome, count]) => `${count} ${outcome}`).join(", ")}, ${inFlight} in flight`,
  );

  server.close();
  server.closeAllConnections();
  await router.close();
  await Promise.all([gpuA, gpuB, gpuC, cloud, vectors].map((upstream) => upstream.close()));
}

function attemptRows(routing: RoutingRecord) {
  return routing.attempts.map(({ number, group, deployment, outcome, code, durationMs }) => ({
    attempt: number,
    group,
    deployment,
    outcome,
    code: code ?? "",
    ms: Math.round(durationMs),
  }));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
