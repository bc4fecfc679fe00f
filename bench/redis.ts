/** A Redis of the run's own, on the loopback, without persistence. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

export interface BenchRedis {
  readonly url: string;
  stop(): Promise<void>;
}

/** @returns `undefined`: `redis-server` is not installed. */
export async function startRedis(): Promise<BenchRedis | undefined> {
  const port = await freePort();
  const settings = { port, bind: "127.0.0.1", dir: tmpdir(), save: "", appendonly: "no" };
  const server = spawn(
    "redis-server",
    Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: "ignore" },
  );
  const started = await Promise.race([once(server, "spawn"), once(server, "error")]).then(
    () => server.pid !== undefined,
    () => false,
  );
  if (!started) return undefined;
  const stop = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
  };
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await answers(port)) return { url: `redis://127.0.0.1:${port}`, stop };
    await sleep(25);
  }
  await stop();
  throw new Error("redis-server did not start");
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo; // of a TCP server
  probe.close();
  await once(probe, "close");
  return port;
}
