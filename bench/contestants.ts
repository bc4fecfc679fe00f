/** Brings the processes of a scenario up and makes contestants of them. */
import type { OpenLoop } from "./accounts-subject.js";
import { entryFile, peerEntryFile } from "./build.js";
import type { LoadPlan, LoadResult } from "./load.js";
import type { Contestant, Sample } from "./measure.js";
import {
  ANSWER_TEXT,
  type ChunkShape,
  COMPLETION_JSON,
  CONCURRENCY,
  REQUEST_BODY,
  STREAM_BODY,
  STREAM_EVENT_COUNT,
} from "./payloads.js";
import { type BenchProcess, startProcess } from "./processes.js";
import type { Scenario, ServerName } from "./scenarios/scenario.js";
import type { Round } from "./subject.js";

export interface Upstream {
  readonly origin: string;
  /** CPU time since its start, in microseconds. */
  cpuUs(): Promise<number>;
  stop(): Promise<void>;
}

/** Where the servers listen that a scenario needs. */
export type ServerUrls = Readonly<Partial<Record<ServerName, string>>>;

/** Variants that are packages of `bench/` alone. */
export const PEERS: readonly string[] = ["ai-sdk", "portkey"];

const PATH = "/v1/chat/completions";

export async function startUpstream(shape: ChunkShape, eventsPerPiece: number): Promise<Upstream> {
  const upstream = await startProcess<{ port: number }>(entryFile("upstream"), [shape, String(eventsPerPiece)]);
  return {
    origin: `http://127.0.0.1:${upstream.ready.port}`,
    cpuUs: () => cpuUsOf(upstream),
    stop: () => upstream.stop(),
  };
}

async function cpuUsOf(child: BenchProcess<unknown>): Promise<number> {
  const { user, system } = await child.ask<NodeJS.CpuUsage>("cpu");
  return user + system;
}

/**
 * One variant of a scenario, started and checked.
 *
 * @param nodeOptions - Flags of the variant's own process.
 * @param servers - The addresses of those that run.
 */
export async function startContestant(
  scenario: Scenario,
  name: string,
  upstream: Upstream,
  load: BenchProcess<unknown>,
  nodeOptions: readonly string[] = [],
  servers: ServerUrls = {},
): Promise<Contestant> {
  if (scenario.runs.kind === "store") return startStoreContestant(name, servers, nodeOptions);
  if (scenario.runs.kind === "open-loop") {
    return startOpenLoopContestant(name, scenario.runs.perSecond, upstream, servers, nodeOptions);
  }
  const entry = PEERS.includes(name) ? peerEntryFile("subject") : entryFile("subject");
  const { runs } = scenario;
  const operation = runs.kind === "server" ? "serve" : runs.name;
  const subject = await startProcess<{ version: string; port?: number }>(
    entry,
    [name, operation, upstream.origin],
    nodeOptions,
  );
  const { version, port } = subject.ready;
  const stop = () => subject.stop();

  if (runs.kind === "operation") {
    const round = async (durationMs: number): Promise<Sample> => {
      const before = await upstream.cpuUs();
      const done = await subject.ask<Round>("round", { durationMs, concurrency: CONCURRENCY });
      return { ...done, upstreamCpuUs: runs.name === "decision" ? 0 : (await upstream.cpuUs()) - before, loadCpuUs: 0 };
    };
    return { name, version, round, stop };
  }

  if (port === undefined) throw new Error(`${name} has no port`);
  const headers = headersFor(upstream);
  await checkServer(`http://127.0.0.1:${port}${PATH}`, headers, name);
  const body = JSON.stringify(runs.isStreaming ? STREAM_BODY : REQUEST_BODY);
  // A relay may repair chunks and leave the usage chunk out, but each of the others is at least this long.
  const minBytes = runs.isStreaming ? STREAM_EVENT_COUNT * 120 : COMPLETION_JSON.length * 0.9;
  const round = async (durationMs: number): Promise<Sample> => {
    const before = { upstream: await upstream.cpuUs(), server: await cpuUsOf(subject) };
    const plan: LoadPlan = { port, path: PATH, headers, body, connections: CONCURRENCY, durationMs, minBytes };
    const result = await load.ask<LoadResult>("load", plan);
    return {
      operations: result.operations,
      wallMs: result.wallMs,
      cpuUs: (await cpuUsOf(subject)) - before.server,
      upstreamCpuUs: (await upstream.cpuUs()) - before.upstream,
      loadCpuUs: result.cpuUs,
    };
  };
  return { name, version, round, stop };
}

async function startStoreContestant(
  name: string,
  servers: ServerUrls,
  nodeOptions: readonly string[],
): Promise<Contestant> {
  const args = [name, servers["redis-server"] ?? ""];
  const subject = await startProcess<{ version: string }>(entryFile("store-subject"), args, nodeOptions);
  return {
    name,
    version: subject.ready.version,
    round: async (durationMs) => {
      const done = await subject.ask<Round>("round", { durationMs });
      return { ...done, upstreamCpuUs: 0, loadCpuUs: 0 };
    },
    stop: () => subject.stop(),
  };
}

async function startOpenLoopContestant(
  name: string,
  perSecond: number,
  upstream: Upstream,
  servers: ServerUrls,
  nodeOptions: readonly string[],
): Promise<Contestant> {
  const args = [name, upstream.origin, servers["redis-server"] ?? "", servers.postgres ?? ""];
  const subject = await startProcess<{ version: string }>(entryFile("accounts-subject"), args, nodeOptions);
  return {
    name,
    version: subject.ready.version,
    round: async (durationMs) => {
      const before = await upstream.cpuUs();
      const done = await subject.ask<Round>("round", { durationMs, perSecond } satisfies OpenLoop);
      return { ...done, upstreamCpuUs: (await upstream.cpuUs()) - before, loadCpuUs: 0 };
    },
    finish: () => subject.ask("finish"),
    stop: () => subject.stop(),
  };
}

/** The same for every server; Portkey learns its upstream from them. */
function headersFor(upstream: Upstream): Record<string, string> {
  return {
    "content-type": "application/json",
    authorization: "Bearer sk-bench",
    "x-portkey-provider": "openai",
    "x-portkey-custom-host": `${upstream.origin}/v1`,
  };
}

/** The load generator counts bytes only, so the text is compared once before. */
async function checkServer(url: string, headers: Record<string, string>, name: string): Promise<void> {
  const post = async (body: object) => {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    return await response.text();
  };
  const whole = JSON.parse(await post(REQUEST_BODY)).choices?.[0]?.message?.content;
  const events = (await post(STREAM_BODY)).match(/^data: \{.*$/gm) ?? [];
  const streamed = events.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? "").join("");
  if (whole !== ANSWER_TEXT || streamed !== ANSWER_TEXT) throw new Error(`${name} serves another text`);
}
