import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { describe, it } from "vitest";

const IS_INSTALLED = isInstalled();

/** A Redis of the tests' own: in a new directory, on a free port of the loopback, without persistence, gone after `close`. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Sends any command, as an administrator would. */
  command(name: string, ...values: (string | number)[]): Promise<unknown>;
  /** Forgets everything, as a failover without a replica does. */
  flush(): Promise<void>;
  /** Accepts connections and answers nothing (SIGSTOP), until {@link resume}. */
  pause(): void;
  resume(): void;
  /** Sleeps in the middle of a command: everybody waits for so long. */
  block(ms: number): Promise<void>;
  /** SIGKILL: connections are cut, data is lost. */
  kill(): Promise<void>;
  /** After {@link kill}: empty, on the same port. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface RedisServerOptions {
  /** One node that holds all slots of a cluster: enough for it to refuse scripts that mix them. */
  readonly isCluster?: boolean | undefined;
}

/** A suite that needs Redis: without it, skipped with a warning; where `CI` is set, a failure. */
export function describeWithRedis(title: string, body: () => void): void {
  if (IS_INSTALLED) {
    describe(title, body);
    return;
  }
  if (process.env.CI === "true") {
    describe(title, () => {
      it("needs Redis", () => {
        throw new Error("Redis is not installed: `redis-server` was not found");
      });
    });
    return;
  }
  console.warn(`SKIPPED, for Redis is not installed (\`redis-server\` was not found): ${title}`);
  describe.skip(title, body);
}

export async function startRedisServer({ isCluster = false }: RedisServerOptions = {}): Promise<RedisServer> {
  const host = "127.0.0.1";
  const directory = mkdtempSync(join(tmpdir(), "switchyard-redis-"));
  const port = await freePort();
  const settings = ["--port", port, "--bind", host, "--dir", directory, "--save", "", "--appendonly", "no"];
  settings.push("--enable-debug-command", "yes", "--loglevel", "warning");
  if (isCluster)
    settings.push("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-announce-ip", host);
  let server: ChildProcess | undefined;
  let administrator: Redis | undefined;

  const connect = () => {
    // Standalone also on the node of a cluster: what an administrator asks, this node answers.
    if (administrator) return administrator;
    administrator = new Redis({ host, port, lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
    administrator.on("error", () => {}); // each command says it
    return administrator;
  };
  const disconnect = () => {
    administrator?.disconnect();
    administrator = undefined;
  };
  const command = (name: string, ...values: (string | number)[]) => connect().call(name, ...values);

  const start = async () => {
    if (server !== undefined) return;
    const started = spawn("redis-server", settings.map(String), { stdio: "ignore" });
    server = started;
    for (let attempt = 1; ; attempt++) {
      try {
        await command("PING");
        break;
      } catch (error) {
        disconnect();
        if (attempt === 200 || started.exitCode !== null) throw new Error("Redis did not start", { cause: error });
        await sleep(25);
      }
    }
    if (!isCluster) return;
    await command("CLUSTER", "ADDSLOTSRANGE", 0, 16383);
    while (!String(await command("CLUSTER", "INFO")).includes("cluster_state:ok")) await sleep(25);
  };

  const kill = async () => {
    disconnect();
    const killed = server;
    server = undefined;
    if (!killed || killed.exitCode !== null || killed.signalCode !== null) return;
    const ended = new Promise((resolve) => killed.once("exit", resolve));
    killed.kill("SIGKILL"); // ends a stopped process, too
    await ended;
  };

  await start();
  return {
    host,
    port,
    url: `redis://${host}:${port}`,
    command,
    async flush() {
      await command("FLUSHALL");
    },
    pause() {
      server?.kill("SIGSTOP");
    },
    resume() {
      server?.kill("SIGCONT");
    },
    async block(ms) {
      await command("DEBUG", "SLEEP", ms / 1_000);
    },
    kill,
    start,
    async close() {
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function isInstalled(): boolean {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
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
