import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

/** A `node:http` server on loopback, and what a test has to know to see that nothing is left behind. */
export interface NodeServer extends AsyncDisposable {
  readonly server: Server;
  readonly port: number;
  readonly origin: string;
  /** Connections that are open now. */
  readonly openSockets: number;
  /** Connects a client that sends exactly what it is told. */
  connect(): RawClient;
}

export async function nodeServer(listener: RequestListener): Promise<NodeServer> {
  const server = createServer(listener);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  return {
    server,
    port,
    origin: `http://127.0.0.1:${port}`,
    get openSockets() {
      return sockets.size;
    },
    connect: () => new RawClient(port),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      if (server.listening) await once(server, "close");
    },
  };
}

/** Bytes in, bytes out: for what HTTP clients refuse to send. */
export class RawClient {
  readonly socket: Socket;
  /** Everything received so far, as Latin-1. */
  received = "";
  isClosed = false;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => {
      this.received += text;
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.isClosed = true;
    });
  }

  send(text: string): this {
    this.socket.write(text, "latin1");
    return this;
  }

  /** Sends a request; the body's length and JSON type are added. */
  request(method: string, target: string, body = "", headers: readonly string[] = []): this {
    const lines = [`${method} ${target} HTTP/1.1`, "host: switchyard", ...headers];
    if (body !== "") lines.push("content-type: application/json", `content-length: ${Buffer.byteLength(body)}`);
    return this.send(`${lines.join("\r\n")}\r\n\r\n${Buffer.from(body).toString("latin1")}`);
  }

  async waitFor(text: string | RegExp): Promise<string> {
    await until(() => (typeof text === "string" ? this.received.includes(text) : text.test(this.received)));
    return this.received;
  }

  async closed(): Promise<string> {
    await until(() => this.isClosed);
    return this.received;
  }
}

/** Resolves when `isTrue` says so. @throws {Error} it does not within 5 s. */
export async function until(isTrue: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`Timed out waiting for ${isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
