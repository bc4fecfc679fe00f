/**
 * The benchmark: every scenario against its floor and its peers, in the same run and in alternating order.
 *
 *     npm run bench                          all scenarios and peers, a few minutes
 *     npm run bench -- --quick               the scenarios of P1, P3, P4 and P6, under a minute
 *     npm run bench -- --only P1,P3          some of them; keeps the files of the last whole run
 *     npm run bench -- --check               fails where a goal of the performance page is missed
 *     npm run bench -- --chunks full         streams with all the fields of OpenAI's own
 *     npm run bench -- --events-per-piece 1  how the upstream cuts its streams
 *     npm run bench -- --profile switchyard  where the time of a variant goes, instead of measuring
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { arePeersInstalled, buildEntries, entryFile, profileFolder } from "./build.js";
import { chartOf } from "./chart.js";
import { PEERS, type ServerUrls, startContestant, startUpstream, type Upstream } from "./contestants.js";
import { type Contestant, measure, type Plan } from "./measure.js";
import { CHUNK_SHAPES } from "./payloads.js";
import { type BenchProcess, startProcess } from "./processes.js";
import { profileText } from "./profile.js";
import { headerText, reportOf, resultOf, resultText, type ScenarioResult } from "./report.js";
import { completion } from "./scenarios/completion.js";
import { decision } from "./scenarios/decision.js";
import { httpCompletion, httpStream } from "./scenarios/http.js";
import { memoryLimits } from "./scenarios/memory-limits.js";
import type { Scenario } from "./scenarios/scenario.js";
import { sharedAccounts } from "./scenarios/shared-accounts.js";
import { sharedLimits } from "./scenarios/shared-limits.js";
import { stream } from "./scenarios/stream.js";
import { type Servers, startServers } from "./servers.js";

const SCENARIOS: readonly Scenario[] = [
  completion,
  stream,
  httpCompletion,
  httpStream,
  decision,
  memoryLimits,
  sharedLimits,
  sharedAccounts,
];

const QUICK: Plan = { rounds: 5, roundMs: 400, warmUpMs: 800 };
const FULL: Plan = { rounds: 9, roundMs: 1_500, warmUpMs: 3_000 };

/** Long enough for the samples of the start to vanish. */
const PROFILE_MS = 10_000;

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    profile: { type: "string" },
    only: { type: "string" },
    chunks: { type: "string", default: "lean" },
    "events-per-piece": { type: "string", default: "24" },
  },
});

function chosenScenarios(): Scenario[] {
  const only = options.only?.split(",");
  const unknown = only?.filter((name) => !SCENARIOS.some(({ id, serves }) => id === name || serves.includes(name)));
  if (unknown?.length) throw new Error(`nothing measures ${unknown.join(", ")}`);
  return SCENARIOS.filter(({ id, serves, isQuick }) =>
    only ? only.includes(id) || serves.some((goal) => only.includes(goal)) : isQuick || !options.quick,
  );
}

function progress(step: string): void {
  process.stderr.write(`  ${step}\n`);
}

async function runScenario(
  scenario: Scenario,
  plan: Plan,
  upstream: Upstream,
  load: BenchProcess<unknown>,
  servers: ServerUrls,
): Promise<ScenarioResult> {
  const wanted = options.quick ? scenario.variants : [...scenario.variants, ...scenario.slowVariants];
  const missing = arePeersInstalled ? [] : wanted.filter((name) => PEERS.includes(name));
  const skipped = missing.map((name) => `${name}, not installed: npm install --prefix bench`);
  const contestants: Contestant[] = [];
  try {
    for (const name of wanted.filter((name) => !missing.includes(name))) {
      contestants.push(await startContestant(scenario, name, upstream, load, [], servers));
    }
    const measured = await measure(contestants, plan, (step) => progress(`${scenario.id}: ${step}`));
    return resultOf(scenario, measured, skipped);
  } finally {
    for (const contestant of contestants) await contestant.stop();
  }
}

async function profileScenario(
  scenario: Scenario,
  variant: string,
  upstream: Upstream,
  load: BenchProcess<unknown>,
  servers: ServerUrls,
): Promise<void> {
  const folder = `${profileFolder}/${scenario.id}-${variant}`;
  rmSync(folder, { recursive: true, force: true });
  const flags = ["--cpu-prof", `--cpu-prof-dir=${folder}`, "--cpu-prof-interval=200"];
  const subject = await startContestant(scenario, variant, upstream, load, flags, servers);
  progress(`profiling ${variant} in ${scenario.id}`);
  const { cpuUs, operations } = await subject.round(PROFILE_MS);
  await subject.stop();
  console.log(`\n## ${scenario.title}: ${variant}, ${(cpuUs / operations).toFixed(1)} µs of CPU per operation`);
  console.log(`${profileText(folder, cpuUs / operations)}\n${folder}`);
}

const scenarios = chosenScenarios();
const plan = options.quick ? QUICK : FULL;
const eventsPerPiece = Number(options["events-per-piece"]);
if (!(eventsPerPiece >= 1))
  throw new Error(`Expected --events-per-piece to be at least 1, received ${options["events-per-piece"]}`);

const chunks = CHUNK_SHAPES.find((shape) => shape === options.chunks);
if (!chunks) throw new Error(`Expected --chunks to be one of ${CHUNK_SHAPES.join(", ")}, received ${options.chunks}`);

const SUBJECTS: Readonly<Record<Scenario["runs"]["kind"], string>> = {
  operation: "subject",
  server: "subject",
  store: "store-subject",
  "open-loop": "accounts-subject",
};

await buildEntries([...new Set(["upstream", "load", ...scenarios.map(({ runs }) => SUBJECTS[runs.kind])])]);
const upstream = await startUpstream(chunks, eventsPerPiece);
const load = await startProcess(entryFile("load"), []);
const servers: Servers = await startServers(scenarios.flatMap(({ needs = [] }) => needs));
const results: ScenarioResult[] = [];
const left: string[] = [];
try {
  for (const scenario of scenarios) {
    const missing = (scenario.needs ?? []).filter((name) => !servers.urls[name]);
    if (missing.length > 0)
      left.push(`${scenario.id} (${scenario.serves.join(", ")}), not installed: ${missing.join(", ")}`);
    else if (options.profile) await profileScenario(scenario, options.profile, upstream, load, servers.urls);
    else results.push(await runScenario(scenario, plan, upstream, load, servers.urls));
  }
} finally {
  await servers.stop();
  await load.stop();
  await upstream.stop();
}

if (!options.profile) {
  const report = reportOf(results, plan, chunks, eventsPerPiece);
  console.log(headerText(report));
  for (const result of results) console.log(resultText(result));
  for (const reason of left) console.log(`\nSKIPPED: ${reason}`);
  // A part of the scenarios is no picture of the whole.
  if (!options.only) {
    const folder = fileURLToPath(new URL("results", import.meta.url));
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/latest.json`, `${JSON.stringify(report, undefined, 2)}\n`);
    writeFileSync(`${folder}/latest.svg`, chartOf(report));
  }
  const missed = results.flatMap(({ goals }) => goals).filter(({ isMet }) => !isMet);
  if (options.check && missed.length > 0) process.exitCode = 1;
}
