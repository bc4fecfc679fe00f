import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ledgerToJsonLines } from "../../src/ledger/export.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import { fewestStreams, poisson, replica, simulate } from "../../src/testing/index.js";
import { type Scenario, simulateFromCommandLine } from "../../src/testing/simulator/command-line.js";

const gpus = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: `gpu-${index}`, provider: "vllm" as const, model: "m" }));
const upstreams = { "*": replica() };
const scenario = (count: number, more: Partial<Scenario> = {}): Scenario => ({
  router: { models: { chat: gpus(count) } },
  upstreams,
  ...more,
});
const SHORT = { workload: poisson({ rate: 8 }), warmUpMs: 2_000, durationMs: 10_000 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "switchyard-simulate-"));
  const ledger = createMemoryLedger();
  await simulate({ ...SHORT, router: { models: { chat: gpus(2) }, ledger }, upstreams });
  let exported = "";
  for await (const piece of ledgerToJsonLines(ledger)) exported += piece;
  await writeFile(join(folder, "requests.jsonl"), exported);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The command, with what the file would export. */
async function command(exported: unknown, ...words: string[]) {
  const written = { stdout: "", stderr: "" };
  const into = (stream: "stdout" | "stderr") => ({
    write: (text: string) => {
      written[stream] += text;
    },
  });
  const code = await simulateFromCommandLine(words, {
    folder,
    stdout: into("stdout"),
    stderr: into("stderr"),
    load: async () => exported,
  });
  return { code, ...written };
}

describe("switchyard-simulate", () => {
  it("says how to run TypeScript where Node does not", async () => {
    let stderr = "";
    const context = {
      folder,
      stdout: { write: () => true },
      stderr: {
        write: (text: string) => {
          stderr += text;
        },
      },
      load: () => Promise.reject(Object.assign(new TypeError("Unknown"), { code: "ERR_UNKNOWN_FILE_EXTENSION" })),
    };
    expect(await simulateFromCommandLine(["what-if.ts"], context)).toBe(2);
    expect(stderr).toMatch(/^what-if\.ts: .* npx tsx node_modules\/\.bin\/switchyard-simulate what-if\.ts$/m);
  });

  it("compares scenarios under a trace of the ledger: a replica more, another strategy, a GPU lost", {
    timeout: 60_000,
  }, async () => {
    const isLost = [{ fromMs: 4_000, untilMs: Number.POSITIVE_INFINITY, isLost: true }];
    const { code, stdout, stderr } = await command(
      {
        today: scenario(2),
        "one more": scenario(3),
        "counting streams": scenario(2, {
          router: { models: { chat: { deployments: gpus(2), strategy: fewestStreams() } } },
        }),
        "gpu-0 lost": scenario(2, { upstreams: { ...upstreams, "gpu-0": replica({ incidents: isLost }) } }),
      },
      ...[
        "what-if.mjs",
        "--trace",
        "requests.jsonl",
        "--html",
        "report.html",
        "--charts",
        "charts",
        "--json",
        "n.json",
      ],
    );
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const requests = (await readFile(join(folder, "requests.jsonl"), "utf8")).trim().split("\n").length;
    for (const name of ["today", "one more", "counting streams", "gpu-0 lost"]) {
      expect(stdout).toMatch(new RegExp(`^${name} +${requests} `, "m"));
      expect(stdout).toMatch(new RegExp(`^${name}: seed 1, \\d+ events, event log [0-9a-f]{16}`, "m"));
    }
    const numbers = JSON.parse(await readFile(join(folder, "n.json"), "utf8")) as Record<
      string,
      { measured: { durationMs: { p95: number }; shares: Record<string, number>; errorCodes: Record<string, number> } }
    >;
    const of = (name: string) => numbers[name]!.measured; // one of those above
    expect(of("one more").durationMs.p95).toBeLessThan(of("today").durationMs.p95);
    // What it was writing broke off; the rest went to the other one.
    expect(of("gpu-0 lost").errorCodes.upstream_unreachable).toBeGreaterThan(0);
    expect(of("gpu-0 lost").shares["gpu-0"]).toBeLessThan(0.3);
    expect(await readFile(join(folder, "report.html"), "utf8")).toContain("<th>gpu-0 lost</th>");
    expect((await readdir(join(folder, "charts"))).sort()).toEqual([
      "failures-over-time.svg",
      "ttft-over-time.svg",
      "ttft-percentiles.svg",
    ]);
  });

  it("invariant 16: shows the same event log for the same seed, one line per seed", { timeout: 60_000 }, async () => {
    const words = ["one.mjs", "--seed", "4", "--seed", "5"];
    const [first, again] = [await command(scenario(2, SHORT), ...words), await command(scenario(2, SHORT), ...words)];
    expect(first.code).toBe(0);
    expect(again.stdout).toBe(first.stdout);
    const logs = [...first.stdout.matchAll(/^simulation, seed \d: seed (\d), .* event log (\w+)$/gm)];
    expect(logs.map(([, seed]) => seed)).toEqual(["4", "5"]);
    expect(logs[0]?.[2]).not.toBe(logs[1]?.[2]);
  });

  it("says in a line what the caller has to mend, and ends with 2", { timeout: 60_000 }, async () => {
    await writeFile(join(folder, "bad.jsonl"), '{"at":1,"promptTokens":5,"completionTokens":1}\nnope\n');
    const wrong: [unknown, string[], RegExp][] = [
      [{}, [], /^Expected one file with scenarios/],
      [undefined, ["a.mjs"], /^a\.mjs has to export by default/],
      [{ today: {} }, ["a.mjs"], /"today" has no `router`/],
      [scenario(1), ["a.mjs"], /^"simulation" of a\.mjs has no workload, and there is no --trace/],
      [scenario(1, SHORT), ["a.mjs", "--seed", "x"], /^Expected --seed to be an integer from 0, received "x"/],
      [scenario(1, SHORT), ["a.mjs", "--trace", "requests.jsonl", "--speed", "0"], /--speed to be a number above 0/],
      [scenario(1, SHORT), ["a.mjs", "--sed", "1"], /'--sed'/],
      [scenario(1, SHORT), ["a.mjs", "--trace", "none.jsonl"], /^none\.jsonl cannot be read/],
      [scenario(1, SHORT), ["a.mjs", "--trace", "bad.jsonl"], /^bad\.jsonl: [\s\S]*line 2: is not JSON/],
      [scenario(1, SHORT), ["a.mjs", "--speed", "2"], /^--speed and --model are about the requests of a --trace/],
      [scenario(1, SHORT), ["a.mjs", "--html", "requests.jsonl/report.html"], /cannot be made/],
      [
        scenario(1, { ...SHORT, upstreams: { ...upstreams, "gpu-O": replica() } }),
        ["a.mjs"],
        /upstreams\["gpu-O"\]: is no deployment of the router: there are gpu-0$/m,
      ],
      [
        { today: { ...scenario(1, SHORT), durationMS: 5 } },
        ["a.mjs"],
        /durationMS: unknown option; did you mean "durationMs"\?/,
      ],
      [
        { today: { ...scenario(1, SHORT), router: { models: { chat: [{ provider: "vllm", model: "m" }] } } } },
        ["a.mjs"],
        /models\.chat\[0\]\.id: is how a simulation finds/,
      ],
      [
        {
          today: {
            ...scenario(1, SHORT),
            router: { models: { chat: [{ id: "gpu-0", provider: "vllm", model: "m", maxParalel: 8 }] } },
          },
        },
        ["a.mjs"],
        /models\.chat\[0\]\.maxParalel: unknown option; did you mean "maxParallel"\?/,
      ],
      [
        { today: { ...scenario(1, SHORT), upstreams: { "*": {} } } },
        ["a.mjs"],
        /upstreams\["\*"\]: expected a model, such as `replica\(\)`/,
      ],
      [{ today: { ...scenario(1, SHORT), router: {} } }, ["a.mjs"], /router: expected the options of a router/],
      [
        { today: { ...scenario(1, SHORT), router: { models: { chat: {} } } } },
        ["a.mjs"],
        /models\.chat\.deployments: expected an array/,
      ],
      [
        scenario(1, { ...SHORT, upstreams: {} }),
        ["a.mjs"],
        /^"simulation" of a\.mjs: .*\n.*no model stands for "gpu-0"/,
      ],
    ];
    for (const [exported, words, message] of wrong) {
      const { code, stderr } = await command(exported, ...words);
      expect(stderr).toMatch(message);
      expect(code).toBe(2);
    }
  });

  it("names models of the trace that the router does not have, and sends them where it is told", {
    timeout: 60_000,
  }, async () => {
    await writeFile(join(folder, "other.jsonl"), '{"at":1,"promptTokens":5,"completionTokens":1,"model":"gpt-x"}\n');
    const lost = await command(scenario(1), "a.mjs", "--trace", "other.jsonl");
    expect(lost.stdout).toMatch(/failed: 1 model_not_found[\s\S]*asks for models that are no groups: gpt-x/);
    const sent = await command(scenario(1), "a.mjs", "--trace", "other.jsonl", "--model", "chat");
    expect(sent.stdout).not.toMatch(/failed|no groups/);
  });

  it("says what is wrong with the file itself", async () => {
    await writeFile(join(folder, "broken.mjs"), 'throw new Error("no models today");');
    const written: string[] = [];
    const context = { folder, stdout: { write: () => true }, stderr: { write: (text: string) => written.push(text) } };
    expect(await simulateFromCommandLine(["nowhere.mjs"], context)).toBe(2);
    expect(await simulateFromCommandLine(["broken.mjs"], context)).toBe(2);
    expect(written[0]).toBe("nowhere.mjs: there is no such file\n");
    expect(written[1]).toMatch(/^broken\.mjs cannot be loaded: Error: no models today/);
  });

  it("runs as a process on a file of the user", { timeout: 120_000 }, async () => {
    const testing = resolve(import.meta.dirname, "../../src/testing/index.ts");
    await writeFile(
      join(folder, "what-if.ts"),
      `import { poisson, replica } from ${JSON.stringify(testing)};
export default {
  router: { models: { chat: [{ id: "a", provider: "vllm", model: "m" }] } },
  upstreams: { a: replica() }, workload: poisson({ rate: 2 }), warmUpMs: 0, durationMs: 5_000,
};`,
    );
    const tsx = resolve(import.meta.dirname, "../../node_modules/.bin/tsx");
    const cli = resolve(import.meta.dirname, "../../src/testing/simulate-cli.ts");
    const { stdout } = await promisify(execFile)(tsx, [cli, "what-if.ts"], { cwd: folder });
    expect(stdout).toMatch(/^simulation: seed 1, \d+ events, event log/m);
  });
});
