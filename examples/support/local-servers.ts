/** Throw-away servers for examples: each in a new directory, on a free port of the loopback; `undefined` where it is not installed. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";

export interface LocalServer {
  readonly url: string;
  stop(): void;
}

export async function startRedis(): Promise<LocalServer | undefined> {
  const folder = folderOf("redis-server");
  if (folder === undefined) return undefined;
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const data = mkdtempSync(join(tmpdir(), "example-redis-"));
  const settings = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", data, "--save", "", "--loglevel", "warning"];
  const stop = run(join(folder, "redis-server"), settings, data, "SIGKILL");
  await untilReady("Redis", async () => {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    client.on("error", () => {}); // `ping` says it
    await client.ping().finally(() => client.disconnect());
  });
  return { url, stop };
}

export async function startPostgres(): Promise<LocalServer | undefined> {
  const folder = folderOf("initdb");
  if (folder === undefined) return undefined;
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const data = mkdtempSync(join(tmpdir(), "example-postgres-"));
  const user = unprivilegedUser();
  if (user) chownSync(data, user.uid, user.gid);
  const options = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
  const made = spawnSync(join(folder, "initdb"), options, { ...user, cwd: data });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const settings = { listen_addresses: "127.0.0.1", port, unix_socket_directories: "", fsync: "off" };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const stop = run(join(folder, "postgres"), ["-D", data, ...flags], data, "SIGQUIT", user);
  await untilReady("PostgreSQL", async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.end();
  });
  return { url, stop };
}

function run(
  binary: string,
  options: readonly string[],
  data: string,
  signal: NodeJS.Signals,
  user?: { uid: number; gid: number },
) {
  const server = spawn(binary, options, { ...user, cwd: data, stdio: "ignore" });
  const stop = () => {
    process.removeListener("exit", stop);
    server.kill(signal);
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once("exit", stop);
  return stop;
}

async function untilReady(name: string, ask: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (attempt === 200) throw new Error(`${name} did not start`, { cause: error });
      await sleep(50);
    }
  }
}

function folderOf(binary: string): string | undefined {
  const versions = "/usr/lib/postgresql";
  const installed = existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, "bin")) : [];
  return [...(process.env.PATH ?? "").split(delimiter), ...installed].find((folder) =>
    existsSync(join(folder, binary)),
  );
}

/** PostgreSQL refuses to run as root. */
function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [, , uid, gid] = /^(?:postgres|nobody):.*$/m.exec(readFileSync("/etc/passwd", "utf8"))?.[0].split(":") ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo; // listening on TCP
  probe.close();
  return port;
}
