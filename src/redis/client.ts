import type { Script } from "./scripts.js";

/** What the store needs of a client of `ioredis`: a `Redis` or a `Cluster`. */
export interface IoredisClient {
  evalsha(sha1: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...keysAndArguments: string[]): Promise<unknown>;
  readonly isCluster?: boolean | undefined;
}

/** What the store needs of a client of `redis` (node-redis): of `createClient`, `createClientPool` or `createCluster`. */
export interface NodeRedisClient {
  evalSha(sha1: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

export type RedisClient = IoredisClient | NodeRedisClient;

/** Runs a script: one command, but for the first time on a server that does not know it. Errors are the client's own. */
export type RunScript = (script: Script, keys: string[], values: string[]) => Promise<unknown>;

export function isRedisClient(client: unknown): client is RedisClient {
  return isIoredis(client) || isNodeRedis(client);
}

export function scriptRunner(client: RedisClient): RunScript {
  const send = sender(client);
  return async (script, keys, values) => {
    try {
      return await send(script.sha1, false, keys, values);
    } catch (error) {
      // Errors of Redis have no code but the first word of their message.
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return await send(script.text, true, keys, values);
    }
  };
}

type Send = (script: string, isText: boolean, keys: string[], values: string[]) => Promise<unknown>;

function sender(client: RedisClient): Send {
  if (isIoredis(client)) {
    return (script, isText, keys, values) =>
      isText
        ? client.eval(script, keys.length, ...keys, ...values)
        : client.evalsha(script, keys.length, ...keys, ...values);
  }
  return (script, isText, keys, values) =>
    isText ? client.eval(script, { keys, arguments: values }) : client.evalSha(script, { keys, arguments: values });
}

/** Whether its keys are spread over several servers, so that a script reaches those of one slot only. */
export function isClusterClient(client: RedisClient): boolean {
  if (isIoredis(client)) return client.isCluster === true;
  // Only a cluster of node-redis hands out the clients of its nodes.
  return "nodeClient" in client;
}

function isIoredis(client: unknown): client is IoredisClient {
  return typeof client === "object" && client !== null && "evalsha" in client && typeof client.evalsha === "function";
}

function isNodeRedis(client: unknown): client is NodeRedisClient {
  return typeof client === "object" && client !== null && "evalSha" in client && typeof client.evalSha === "function";
}
