import { Feature } from "../protocol/features.js";
import type { Chunk, Reply } from "../protocol/operations.js";
import type { StreamDecoder, StreamSummary } from "../providers/provider.js";
import type { AccountOwners } from "./account-owners.js";
import type { RequestState } from "./request.js";
import { tenantOf } from "./wait-for-slot.js";

/** Looks at a whole reply or a chunk. */
export type AudioNote = (answer: Reply | Chunk) => void;

/** @returns `undefined`: nobody asked for audio. */
export function audioNote(owners: AccountOwners, request: RequestState, account: string): AudioNote | undefined {
  if ((request.checked.features & Feature.audioOutput) === 0) return undefined;
  const tenant = tenantOf(request);
  return (answer) => {
    // Upstreams may answer anything, whatever the types say.
    const choices = member(answer, "choices");
    if (!Array.isArray(choices)) return;
    for (const choice of choices) {
      const id = member(member(member(choice, "message") ?? member(choice, "delta"), "audio"), "id");
      if (typeof id === "string") owners.note(tenant, id, account);
    }
  };
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** A decoder that notes the audio of each chunk as it passes. */
export class AudioNotingDecoder implements StreamDecoder<Chunk> {
  constructor(
    private readonly decoder: StreamDecoder<Chunk>,
    private readonly note: AudioNote,
  ) {}

  push(bytes: Uint8Array, out: Chunk[]): void {
    const from = out.length;
    try {
      this.decoder.push(bytes, out);
    } finally {
      // Also what came before an error.
      this.#look(out, from);
    }
  }

  end(out: Chunk[]): void {
    const from = out.length;
    try {
      this.decoder.end(out);
    } finally {
      this.#look(out, from);
    }
  }

  get isDone(): boolean {
    return this.decoder.isDone;
  }
  get contentAt(): number | undefined {
    return this.decoder.contentAt;
  }
  get summary(): StreamSummary {
    return this.decoder.summary;
  }

  #look(out: readonly Chunk[], from: number): void {
    for (let at = from; at < out.length; at++) this.note(out[at]!); // in bounds
  }
}
