/**
 * The load generator of the HTTP scenarios, in a process of its own: bare sockets that send the same request again
 * as soon as its answer is complete. It looks at an answer's status, framing and length only, so that it costs less
 * than any server.
 */
import { connect, type Socket } from "node:net";
import { answerQuestions } from "./processes.js";

export interface LoadPlan {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly durationMs: number;
  /** An answer with fewer bytes is a failure. */
  readonly minBytes: number;
}

export interface LoadResult {
  readonly operations: number;
  readonly wallMs: number;
  readonly cpuUs: number;
}

const READ_BYTES = 65_536;
const CHUNKED_END = "\r\n0\r\n\r\n";

/** Follows one connection's answers; calls `onAnswer` with the size of each complete one, head included. */
function answerReader(onAnswer: (bytes: number) => void): (bytes: Buffer) => void {
  let head = "";
  let size = 0;
  /** Of a body with a length, what is to come; `undefined` in the head and in chunked bodies. */
  let missing: number | undefined;
  let isChunked = false;
  /** The last characters of a chunked body. */
  let tail = "";

  const complete = () => {
    const answered = size;
    head = "";
    size = 0;
    missing = undefined;
    isChunked = false;
    tail = "";
    onAnswer(answered);
  };

  return (bytes) => {
    size += bytes.length;
    let bodyStart = 0;
    if (missing === undefined && !isChunked) {
      const before = head.length;
      head += bytes.toString("latin1", 0, Math.min(bytes.length, 4_096));
      const headEnd = head.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      if (!head.startsWith("HTTP/1.1 200")) throw new Error(`an answer begins with ${head.slice(0, 300)}`);
      bodyStart = headEnd + 4 - before;
      const length = /\r\ncontent-length: ?(\d+)/i.exec(head.slice(0, headEnd + 2))?.[1];
      if (length === undefined) isChunked = true;
      else missing = Number(length);
    }
    if (missing !== undefined) {
      missing -= bytes.length - bodyStart;
      // Nothing is pipelined, so no byte of a next answer can be here.
      if (missing <= 0) complete();
    } else {
      tail = (tail + bytes.toString("latin1", Math.max(bodyStart, bytes.length - CHUNKED_END.length))).slice(
        -CHUNKED_END.length,
      );
      if (tail === CHUNKED_END) complete();
    }
  };
}

async function load(plan: LoadPlan): Promise<LoadResult> {
  const headers = Object.entries({ ...plan.headers, "content-length": String(Buffer.byteLength(plan.body)) });
  const request = Buffer.from(
    `POST ${plan.path} HTTP/1.1\r\nhost: 127.0.0.1:${plan.port}\r\n` +
      `${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${plan.body}`,
  );
  const sockets = await Promise.all(Array.from({ length: plan.connections }, () => openConnection(plan.port)));

  const cpu = process.cpuUsage();
  const start = performance.now();
  let operations = 0;
  await Promise.all(
    sockets.map(
      ({ socket, onBytes }) =>
        new Promise<void>((resolve, reject) => {
          const read = answerReader((bytes) => {
            if (bytes < plan.minBytes) throw new Error(`an answer of only ${bytes} bytes`);
            operations++;
            if (performance.now() - start < plan.durationMs) socket.write(request);
            else resolve();
          });
          onBytes((bytes) => {
            try {
              read(bytes);
            } catch (error) {
              reject(error);
            }
          });
          socket.once("error", reject);
          socket.once("close", () => reject(new Error("the server closed a connection")));
          socket.write(request);
        }),
    ),
  );
  const wallMs = performance.now() - start;
  const used = process.cpuUsage(cpu);
  for (const { socket } of sockets) socket.destroy();
  return { operations, wallMs, cpuUs: used.user + used.system };
}

interface Connection {
  readonly socket: Socket;
  onBytes(listener: (bytes: Buffer) => void): void;
}

function openConnection(port: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let listener: (bytes: Buffer) => void = () => {};
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      // One buffer for all reads of the connection: nothing is allocated per answer.
      onread: {
        buffer,
        callback: (length) => {
          listener(buffer.subarray(0, length));
          return true;
        },
      },
    });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve({
        socket,
        onBytes(next) {
          listener = next;
        },
      });
    });
  });
}

answerQuestions({ ready: {}, answers: { load } });
