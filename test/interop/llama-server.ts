import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { engineFiles } from "./setup.js";

/** A llama.cpp server of its own process, with the tiny model. */
export interface LlamaServer extends AsyncDisposable {
  readonly origin: string;
  readonly version: string;
  /** Requests that it works on now, as its own list of slots says. */
  busySlots(): Promise<number>;
  /** As if the process had crashed. */
  kill(): Promise<void>;
}

/** @throws {Error} it is not healthy within 20 s; with what it wrote. */
export async function startLlamaServer(...options: readonly string[]): Promise<LlamaServer> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const listens = ["--host", "127.0.0.1", "--port", String(port)];
  // One thread: nobody learns anything from how fast it is.
  const model = ["-m", engineFiles.model, "--alias", "tiny", "--threads", "1", "--no-warmup"];
  const process = spawn(engineFiles.server, [...model, ...listens, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  const written: string[] = [];
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      written.push(String(bytes));
      if (written.length > 500) written.splice(0, 250);
    });
  }
  try {
    await untilHealthy(origin, process);
  } catch (error) {
    process.kill("SIGKILL");
    throw new Error(`llama-server did not start:\n${written.join("").slice(-4_000)}`, { cause: error });
  }
  const kill = async () => {
    if (process.exitCode !== null || process.signalCode !== null) return;
    const exited = once(process, "exit");
    process.kill("SIGKILL");
    await exited;
  };
  return {
    origin,
    version: await versionOf(engineFiles.server),
    async busySlots() {
      const slots = (await (await fetch(`${origin}/slots`)).json()) as { is_processing: boolean }[];
      return slots.filter((slot) => slot.is_processing).length;
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

async function untilHealthy(origin: string, process: ChildProcess): Promise<void> {
  for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 50) {
    if (process.exitCode !== null) throw new Error(`it ended with code ${process.exitCode}`);
    const health = await fetch(`${origin}/health`).catch(() => undefined);
    await health?.body?.cancel();
    if (health?.ok) return;
    await sleep(50);
  }
  throw new Error("it is not healthy after 20 s");
}

async function versionOf(server: string): Promise<string> {
  const asked = spawn(server, ["--version"]);
  let text = "";
  asked.stderr.on("data", (bytes: Buffer) => (text += bytes));
  asked.stdout.on("data", (bytes: Buffer) => (text += bytes));
  await once(asked, "close");
  return text.split("\n").find((line) => line.startsWith("version")) ?? "unknown";
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until `isTrue` says so. @throws {Error} it does not within 10 s. */
export async function until(isTrue: () => Promise<boolean>, everyMs = 10): Promise<void> {
  for (let waitedMs = 0; waitedMs < 10_000; waitedMs += everyMs) {
    if (await isTrue()) return;
    await sleep(everyMs);
  }
  throw new Error(`Timed out waiting for ${isTrue}`);
}

/**
 * Waits until it works on nothing. It looks after the client of a whole answer only when it has been left alone for a
 * second, so it must not be asked too often. @throws {Error} it goes on for 10 s.
 */
export async function untilIdle(server: LlamaServer): Promise<void> {
  await until(async () => (await server.busySlots()) === 0, 1_500);
}
