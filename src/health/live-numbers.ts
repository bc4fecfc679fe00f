/** Numbers of each deployment: 64 bytes, as many as most processors fetch from memory at a time. */
const ROW_LENGTH = 8;
/** 16 KiB. */
const ROWS_PER_BLOCK = 256;

/** Where the numbers of one deployment are: the eight from `offset` on. */
export interface LiveRow {
  readonly block: Float64Array;
  readonly offset: number;
}

let block = new Float64Array(0);
let used = 0;

/**
 * A row of zeros that nobody else has. Rows are not given back, for attempts may end long after their deployment is gone: a
 * block is garbage when none of its deployments is left.
 */
export function openRow(): LiveRow {
  if (used === block.length) {
    block = new Float64Array(ROW_LENGTH * ROWS_PER_BLOCK);
    used = 0;
  }
  const offset = used;
  used += ROW_LENGTH;
  return { block, offset };
}

/**
 * What changes with each attempt on a deployment and a pick compares. The account-keepers of the deployment extend this to
 * write its numbers, its candidates to read them: all are views of one row.
 *
 * A pick looks at each of up to 256 deployments, or at some of thousands. V8 keeps fractions that are fields of objects in
 * boxes of their own, all over the memory, and to fetch them was most of a pick; the rows lie side by side.
 */
export class LiveNumbers implements LiveRow {
  readonly block: Float64Array;
  readonly offset: number;

  constructor({ block, offset }: LiveRow) {
    this.block = block;
    this.offset = offset;
  }

  // In bounds, each: a row has eight. As literals, for constants of a module are looked up at each use, and `| 0`, for then
  // the sum is not checked for overflow.

  /** Attempts under way. */
  get streams(): number {
    return this.block[this.offset]!;
  }
  protected set streams(streams: number) {
    this.block[this.offset] = streams;
  }
  /** Prompt tokens of the attempts that wait for their first token. */
  get waitingTokens(): number {
    return this.block[(this.offset + 1) | 0]!;
  }
  protected set waitingTokens(tokens: number) {
    this.block[(this.offset + 1) | 0] = tokens;
  }
  /** Milliseconds of TTFT per prompt token of work ahead; 0 before the first sample. */
  get slownessMs(): number {
    return this.block[(this.offset + 2) | 0]!;
  }
  protected set slownessMs(ms: number) {
    this.block[(this.offset + 2) | 0] = ms;
  }
  /** Milliseconds per output token; 0 before the first sample. */
  get msPerOutputToken(): number {
    return this.block[(this.offset + 3) | 0]!;
  }
  protected set msPerOutputToken(ms: number) {
    this.block[(this.offset + 3) | 0] = ms;
  }
  /** Time of the last sample of `slownessMs`, on the router's clock. */
  get lastSampleAt(): number {
    return this.block[(this.offset + 4) | 0]!;
  }
  protected set lastSampleAt(at: number) {
    this.block[(this.offset + 4) | 0] = at;
  }
  /** Other streams under way when answers completed, on average. */
  get averageStreams(): number {
    return this.block[(this.offset + 5) | 0]!;
  }
  protected set averageStreams(streams: number) {
    this.block[(this.offset + 5) | 0] = streams;
  }
  /** Share of attempts that succeeded, 0–1, the latest ones counting most. Time has forgiven nothing yet. */
  get success(): number {
    return this.block[(this.offset + 6) | 0]!;
  }
  protected set success(share: number) {
    this.block[(this.offset + 6) | 0] = share;
  }
  /** While it is not available: it is not before this time either, on the router's clock. Otherwise 0. */
  get blockedUntil(): number {
    return this.block[(this.offset + 7) | 0]!;
  }
  protected set blockedUntil(at: number) {
    this.block[(this.offset + 7) | 0] = at;
  }
}
