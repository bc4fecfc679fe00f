import fc from "fast-check";

/**
 * Property tests draw the same cases on every run, 200 unless they say otherwise; `SWITCHYARD_SEED` draws others. Failures
 * print their own seed.
 */
fc.configureGlobal({ seed: Number(process.env.SWITCHYARD_SEED ?? 20_261_120), numRuns: 200 });
