import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { until } from "./node-server.js";

/** A request as it came over the wire. */
export interface WireRequest {
  /** `POST /path HTTP/1.1` */
  readonly line: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** 1 for the first request of the server. */
  readonly number: number;
}

export interface WireConnection {
  readonly socket: Socket;
  /** 1 for the first connection of the server. */
  readonly number: number;
  readonly requests: WireRequest[];
  /** When its end was noticed, on the scale of `performance.now()`. */
  closedAt: number | undefined;
  /** Sends text as UTF-8. @returns false where the kernel takes no more for now. */
  write(text: string): boolean;
  closed(): Promise<number>;
}

export interface ByteServer extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  readonly connections: readonly WireConnection[];
  readonly openConnections: number;
  readonly requests: readonly WireRequest[];
  /** Resolves when so many requests have come. */
  requestCount(count: number): Promise<void>;
}

/**
 * A server on loopback that answers with whatever bytes a test writes.
 *
 * @param onRequest - Called for each complete request.
 * @param onConnection - Called for each connection, before any request.
 */
export async function byteServer(
  onRequest: (connection: WireConnection, request: WireRequest) => void,
  onConnection: (connection: WireConnection) => void = () => {},
): Promise<ByteServer> {
  const connections: WireConnection[] = [];
  const requests: WireRequest[] = [];
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    const connection: WireConnection = {
      socket,
      number: connections.length + 1,
      requests: [],
      closedAt: undefined,
      write: (text) => socket.write(text),
      async closed() {
        await until(() => connection.closedAt !== undefined);
        return connection.closedAt ?? 0;
      },
    };
    connections.push(connection);
    const noteClosed = () => {
      connection.closedAt ??= performance.now();
    };
    socket.on("error", noteClosed);
    socket.on("end", noteClosed);
    socket.on("close", noteClosed);
    let received = Buffer.alloc(0);
    socket.on("data", (bytes) => {
      received = Buffer.concat([received, bytes]);
      for (;;) {
        const headEnd = received.indexOf("\r\n\r\n");
        if (headEnd === -1) return;
        const [line = "", ...fields] = received.toString("latin1", 0, headEnd).split("\r\n");
        const headers = new Map(
          fields.map((field) => {
            const colon = field.indexOf(":");
            return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
          }),
        );
        const end = headEnd + 4 + Number(headers.get("content-length") ?? 0);
        if (received.length < end) return;
        const body = received.toString("utf8", headEnd + 4, end);
        received = received.subarray(end);
        const request: WireRequest = { line, headers, body, number: requests.length + 1 };
        requests.push(request);
        connection.requests.push(request);
        onRequest(connection, request);
      }
    });
    onConnection(connection);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    connections,
    requests,
    get openConnections() {
      return connections.filter(({ closedAt }) => closedAt === undefined).length;
    },
    requestCount: (count) => until(() => requests.length >= count),
    async [Symbol.asyncDispose]() {
      for (const { socket } of connections) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A whole response with a declared length. */
export function wireResponse(body: string, { status = "200 OK", headers = [] as readonly string[] } = {}): string {
  return [`HTTP/1.1 ${status}`, `content-length: ${Buffer.byteLength(body)}`, ...headers, "", body].join("\r\n");
}

/** One chunk of a chunked body; an empty text ends it. */
export function wireChunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

/** The head of a chunked response. */
export const CHUNKED_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
