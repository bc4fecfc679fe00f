import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { describe, it } from "vitest";

const run = promisify(execFile);

/** Where `initdb` and `postgres` are; `undefined`: not installed here. */
const BINARIES = findBinaries();
export const hasPostgres = BINARIES !== undefined;

/** A PostgreSQL of the tests' own: in a new directory, on a free port of the loopback, gone after `close`. */
export interface PostgresServer {
  readonly host: string;
  readonly port: number;
  /** Of the database `postgres`, as its superuser. */
  readonly connectionString: string;
  /** Makes an empty database. @returns its connection string. */
  createDatabase(name: string): Promise<string>;
  /** After `stop` or `kill`: the same data, the same port. */
  start(): Promise<void>;
  /** Orderly: connections are cut, and everything is written. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash does it. */
  kill(): Promise<void>;
  /** Stops it and deletes its data. */
  close(): Promise<void>;
}

/** A suite that needs PostgreSQL: without it, skipped with a warning; where `CI` is set, a failure. */
export function describeWithPostgres(title: string, body: () => void): void {
  if (BINARIES !== undefined) {
    describe(title, body);
    return;
  }
  if (process.env.CI === "true") {
    describe(title, () => {
      it("needs PostgreSQL", () => {
        throw new Error("PostgreSQL is not installed: `initdb` and `postgres` were not found");
      });
    });
    return;
  }
  console.warn(`SKIPPED, for PostgreSQL is not installed (\`initdb\` was not found): ${title}`);
  describe.skip(title, body);
}

export async function startPostgresServer(): Promise<PostgresServer> {
  if (BINARIES === undefined) throw new Error("PostgreSQL is not installed: `initdb` was not found");
  const binaries = BINARIES;
  const user = unprivilegedUser();
  const directory = mkdtempSync("/tmp/switchyard-postgres-");
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  const data = join(directory, "data");
  // `--no-locale` orders by bytes, which is what a query that forgot its collation would otherwise hide behind;
  // the statements name theirs.
  await run(
    join(binaries, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
    { ...user, cwd: directory },
  );
  const port = await freePort();
  let server: ChildProcess | undefined;
  let log = "";

  const start = async () => {
    if (server !== undefined) return;
    const settings = {
      listen_addresses: "127.0.0.1",
      port,
      unix_socket_directories: "",
      fsync: "off",
      full_page_writes: "off",
      max_connections: 100,
      shared_buffers: "32MB",
      log_min_messages: "warning",
    };
    for (let attempt = 1; ; attempt++) {
      log = "";
      const child = spawn(
        join(binaries, "postgres"),
        ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
        { ...user, cwd: directory, stdio: ["ignore", "ignore", "pipe"] },
      );
      server = child;
      child.stderr?.on("data", (chunk) => {
        log = (log + chunk).slice(-10_000);
      });
      try {
        await acceptsConnections(child, port, () => log);
        return;
      } catch (error) {
        // After a kill, the processes of its connections need a moment to notice and go.
        if (attempt === 50 || !log.includes("is still in use")) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  };
  const end = async (signal: NodeJS.Signals) => {
    const child = server;
    server = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.kill(signal);
    });
  };
  const forget = () => {
    server?.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", forget);
  try {
    await start();
  } catch (error) {
    forget();
    throw error;
  }

  const connectionString = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`;
  return {
    host: "127.0.0.1",
    port,
    connectionString: connectionString("postgres"),
    async createDatabase(name) {
      const client = new pg.Client({ connectionString: connectionString("postgres") });
      await client.connect();
      await client.query(`create database ${pg.escapeIdentifier(name)}`);
      await client.end();
      return connectionString(name);
    },
    start,
    stop: () => end("SIGINT"),
    kill: () => end("SIGKILL"),
    async close() {
      // SIGQUIT: at once, for nobody wants the data.
      await end("SIGQUIT");
      process.removeListener("exit", forget);
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function findBinaries(): string | undefined {
  const versions = "/usr/lib/postgresql";
  const installed = existsSync(versions)
    ? readdirSync(versions)
        .sort((one, other) => Number(other) - Number(one))
        .map((version) => join(versions, version, "bin"))
    : [];
  return [...(process.env.PATH ?? "").split(delimiter), ...installed].find(
    (folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")),
  );
}

/** PostgreSQL refuses to run as root: the package's own account is asked for. */
function unprivilegedUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((line) => line.startsWith(`${name}:`))?.split(":");
    if (account !== undefined) return { uid: Number(account[2]), gid: Number(account[3]) };
  }
  return { uid: Number(execFileSync("id", ["-u", "postgres"])), gid: 0 };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** It answers a start-up packet, rather than only the connection: while it recovers it refuses with an error. */
async function acceptsConnections(child: ChildProcess, port: number, log: () => string): Promise<void> {
  const until = performance.now() + 30_000;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`PostgreSQL did not start: ${log()}`);
    if (await isReady(port)) return;
    if (performance.now() > until) throw new Error(`PostgreSQL was not ready in 30 s: ${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isReady(port: number): Promise<boolean> {
  const parameters = Buffer.from("user\0postgres\0database\0postgres\0\0");
  const packet = Buffer.alloc(8);
  packet.writeInt32BE(8 + parameters.length, 0);
  packet.writeInt32BE(196_608, 4);
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    const answer = (ready: boolean) => {
      socket.destroy();
      resolve(ready);
    };
    socket.once("connect", () => socket.write(Buffer.concat([packet, parameters])));
    // `R`: it asks for, or waives, a password; `E`: it is starting up.
    socket.once("data", (bytes) => answer(bytes[0] === 0x52));
    socket.once("error", () => answer(false));
    socket.setTimeout(2_000, () => answer(false));
  });
}
