import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "vitest";

const MISSING = ["prometheus", "promtool"].filter((command) => !isInstalled(command));

/** A suite that needs Prometheus: without it, skipped with a warning; where `CI` is set, a failure. */
export function describeWithPrometheus(title: string, body: () => void): void {
  if (MISSING.length === 0) {
    describe(title, body);
    return;
  }
  const problem = `${MISSING.map((name) => `\`${name}\``).join(" and ")} not found`;
  if (process.env.CI === "true") {
    describe(title, () => {
      it("needs Prometheus", () => {
        throw new Error(`Prometheus is not installed: ${problem}`);
      });
    });
    return;
  }
  console.warn(`SKIPPED, for Prometheus is not installed (${problem}): ${title}`);
  describe.skip(title, body);
}

/** What `promtool` says. @throws {Error} it refuses, with its words. */
export function promtool(args: readonly string[], input?: string): string {
  return execFileSync("promtool", args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });
}

/** What `promtool` says of rules that are written in JSON, which is YAML. @throws {Error} as {@link promtool}. */
export function checkRules(rules: object): string {
  const directory = mkdtempSync(join(tmpdir(), "switchyard-rules-"));
  try {
    writeFileSync(join(directory, "rules.yml"), JSON.stringify(rules));
    return promtool(["check", "rules", join(directory, "rules.yml")]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A Prometheus of the tests' own, that scrapes one target every 200 ms. */
export interface PrometheusServer {
  /** The result of an instant query, once it has at least one series. */
  query(expression: string): Promise<readonly { metric: Record<string, string>; value: [number, string] }[]>;
  close(): Promise<void>;
}

export async function startPrometheus(options: {
  readonly target: string;
  readonly path: string;
  readonly bearerToken: string;
  readonly rulesFile: string;
}): Promise<PrometheusServer> {
  const directory = mkdtempSync(join(tmpdir(), "switchyard-prometheus-"));
  const configuration = join(directory, "prometheus.yml");
  writeFileSync(
    configuration,
    JSON.stringify({
      global: { scrape_interval: "200ms", scrape_timeout: "200ms", evaluation_interval: "1s" },
      rule_files: [options.rulesFile],
      scrape_configs: [
        {
          job_name: "switchyard",
          metrics_path: options.path,
          authorization: { credentials: options.bearerToken },
          static_configs: [{ targets: [options.target] }],
        },
      ],
    }),
  );
  const port = await freePort();
  const server = spawn(
    "prometheus",
    [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=error",
    ],
    { stdio: "ignore" },
  );
  const origin = `http://127.0.0.1:${port}`;
  return {
    async query(expression) {
      for (let attempt = 1; ; attempt++) {
        const response = await fetch(`${origin}/api/v1/query?query=${encodeURIComponent(expression)}`).catch(
          () => undefined,
        );
        const answer = response?.ok ? await response.json() : undefined;
        if (answer?.data?.result.length > 0) return answer.data.result;
        if (attempt === 150) throw new Error(`Prometheus has nothing for ${expression}`);
        await sleep(100);
      }
    },
    async close() {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGKILL");
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function isInstalled(command: string): boolean {
  try {
    execFileSync(command, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
