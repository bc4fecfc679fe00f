/** The servers of a run's own, for the scenarios that need them. */
import { startPostgres } from "../examples/support/local-servers.js";
import type { ServerUrls } from "./contestants.js";
import { startRedis } from "./redis.js";
import type { ServerName } from "./scenarios/scenario.js";

export interface Servers {
  /** Of those that were asked for and are installed. */
  readonly urls: ServerUrls;
  stop(): Promise<void>;
}

interface RunningServer {
  readonly url: string;
  stop(): Promise<void> | void;
}

const STARTS: Readonly<Record<ServerName, () => Promise<RunningServer | undefined>>> = {
  "redis-server": startRedis,
  postgres: startPostgres,
};

export async function startServers(names: readonly ServerName[]): Promise<Servers> {
  const running = new Map<ServerName, RunningServer>();
  const stop = async () => {
    for (const server of running.values()) await server.stop();
  };
  try {
    for (const name of new Set(names)) {
      const server = await STARTS[name]();
      if (server) running.set(name, server);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { urls: Object.fromEntries([...running].map(([name, { url }]) => [name, url])), stop };
}
