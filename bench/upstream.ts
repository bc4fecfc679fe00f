/**
 * The upstream of every scenario, in a process of its own: a bare socket server that speaks just enough HTTP/1.1 to
 * answer each request at once. It reads no header but the length and no body field but `stream`, so that it costs a
 * fraction of what any variant costs; the harness measures that fraction.
 *
 * Arguments: the shape of the chunks, the number of stream events per piece. Tells its parent its port.
 */
import { createServer, type Socket } from "node:net";
import { type ChunkShape, COMPLETION_JSON, STREAM_END, streamEvents } from "./payloads.js";
import { answerQuestions } from "./processes.js";

const [shape, eventsPerPiece] = [process.argv[2] as ChunkShape, Number(process.argv[3])]; // checked by the parent

/** As OpenAI tells them, whole or streamed; far more than any variant asks, for they are kept to. */
const RATE_LIMITS =
  "x-ratelimit-limit-requests: 1000000000\r\n" +
  "x-ratelimit-remaining-requests: 999999999\r\n" +
  "x-ratelimit-reset-requests: 6ms\r\n";

const wholeAnswer = Buffer.from(
  "HTTP/1.1 200 OK\r\n" +
    "date: Tue, 11 Mar 2025 01:25:52 GMT\r\n" +
    "content-type: application/json\r\n" +
    `content-length: ${Buffer.byteLength(COMPLETION_JSON)}\r\n` +
    "openai-processing-ms: 12\r\n" +
    "x-request-id: req_9f3c1d2ab1754c5b8c1ab3d4ee1f0c55\r\n" +
    RATE_LIMITS +
    `\r\n${COMPLETION_JSON}`,
);

const streamHead =
  "HTTP/1.1 200 OK\r\n" +
  "date: Tue, 11 Mar 2025 01:25:52 GMT\r\n" +
  "content-type: text/event-stream; charset=utf-8\r\n" +
  "transfer-encoding: chunked\r\n" +
  "x-request-id: req_9f3c1d2ab1754c5b8c1ab3d4ee1f0c55\r\n" +
  RATE_LIMITS +
  "\r\n";

/** The stream as it is written: each piece is one HTTP chunk, the head goes with the first. */
function streamPieces(): readonly Buffer[] {
  const pieces: Buffer[] = [];
  const events = streamEvents(shape);
  for (let start = 0; start < events.length; start += eventsPerPiece) {
    const isLast = start + eventsPerPiece >= events.length;
    const text = events.slice(start, start + eventsPerPiece).join("") + (isLast ? STREAM_END : "");
    const framed = `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n${isLast ? "0\r\n\r\n" : ""}`;
    pieces.push(Buffer.from(start === 0 ? streamHead + framed : framed));
  }
  return pieces;
}
const pieces = streamPieces();

function sendStream(socket: Socket): void {
  let next = 0;
  const sendPiece = () => {
    if (socket.destroyed) return;
    // One piece per turn of the event loop, so that pieces arrive as reads of their own.
    socket.write(pieces[next++] as Buffer); // in range: `next` is checked below
    if (next < pieces.length) setImmediate(sendPiece);
  };
  sendPiece();
}

const CONTENT_LENGTH = /\r\ncontent-length: ?(\d+)/i;

/** Answers the requests that `bytes` holds completely; returns what is left of an incomplete one. */
function answer(socket: Socket, bytes: Buffer): Buffer | undefined {
  let rest = bytes;
  while (rest.length > 0) {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) return rest;
    const length = Number(CONTENT_LENGTH.exec(rest.toString("latin1", 0, headEnd))?.[1] ?? 0);
    const end = headEnd + 4 + length;
    if (rest.length < end) return rest;
    const body = rest.subarray(headEnd + 4, end);
    if (body.includes('"stream":true')) sendStream(socket);
    else socket.write(wholeAnswer);
    rest = rest.subarray(end);
  }
  return undefined;
}

const server = createServer({ noDelay: true }, (socket) => {
  let incomplete: Buffer | undefined;
  socket.on("data", (bytes: Buffer) => {
    incomplete = answer(socket, incomplete ? Buffer.concat([incomplete, bytes]) : bytes);
  });
  // Variants drop their connections when they are stopped.
  socket.on("error", () => socket.destroy());
});

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the upstream has no port");
  answerQuestions({ ready: { port: address.port }, answers: { cpu: () => process.cpuUsage() } });
});
