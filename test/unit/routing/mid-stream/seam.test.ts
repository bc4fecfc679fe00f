import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Seam, type SeamOptions } from "../../../../src/routing/mid-stream/seam.js";

/** What is delivered of a continuation that comes in these pieces. */
function joined(options: Partial<SeamOptions>, pieces: readonly string[]): string {
  const seam = new Seam({ sent: "", unsent: "", isPrompted: false, ...options });
  return pieces.map((piece) => seam.push(piece)).join("") + seam.end();
}

/** The same text cut anywhere. */
const cuts = (text: string) =>
  fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 8 }).map((positions) => {
    const at = [0, ...positions.toSorted((a, b) => a - b), text.length];
    return at.slice(1).map((end, index) => text.slice(at[index], end));
  });

const SENTENCE = "It was the best of times, it was the worst of times";

describe("the seam of a continued answer", () => {
  it.each([
    ["repeats nothing", SENTENCE, ", it was the age of wisdom", ", it was the age of wisdom"],
    ["repeats the end", SENTENCE, "it was the worst of times, it was the age", ", it was the age"],
    ["repeats everything", SENTENCE, `${SENTENCE}, it was`, ", it was"],
    ["has a letter in common by chance", "Hel", "lo", "lo"],
    ["has a word in common by chance", "I think that ", "that is right", "that is right"],
    ["is the beginning of a repetition, and no more", SENTENCE, "it was the worst", "it was the worst"],
    ["goes on with a row that repeats itself", "ha ha ha ha ha ha", " ha ha ha ha ha!", " ha ha ha ha ha!"],
    [
      "goes on with what was repeated before",
      "| one | two |\n| one | two |\n",
      "| one | two |\nEnd",
      "| one | two |\nEnd",
    ],
  ])("is right where the continuation %s", (_case, sent, text, expected) => {
    fc.assert(
      fc.property(cuts(text), (pieces) => {
        expect(joined({ sent }, pieces)).toBe(expected);
      }),
      { seed: 7, numRuns: 60 },
    );
  });

  it.each([
    ["begins its last word anew", "Hello wor", "world!", "ld!"],
    ["repeats its last words", "the quick brown", "quick brown fox", " fox"],
    ["repeats its last word with the space before it", "the quick", " quick fox", " fox"],
    ["has the middle of a word in common by chance", "Hel", "lo", "lo"],
  ])("is right where somebody who was asked to go on %s", (_case, sent, text, expected) => {
    fc.assert(
      fc.property(cuts(text), (pieces) => {
        expect(joined({ sent, isPrompted: true }, pieces)).toBe(expected);
      }),
      { seed: 7, numRuns: 60 },
    );
  });

  it.each([
    ["comes again", " ", " fox", "fox"],
    ["does not", " ", "fox", "fox"],
    ["comes again as the beginning of more", "\n", "\n\nThen", "\nThen"],
    ["comes in part", "\n\n    ", "\n\nfox", "fox"],
    ["is half a character", "\ud83d", "\ud83d\ude82 goes", "\ude82 goes"],
  ])("takes off what was not sent where it %s", (_case, unsent, text, expected) => {
    fc.assert(
      fc.property(cuts(text), (pieces) => {
        expect(joined({ sent: "quick", unsent }, pieces)).toBe(expected);
        expect(joined({ sent: SENTENCE, unsent }, [SENTENCE, ...pieces])).toBe(expected);
      }),
      { seed: 7, numRuns: 60 },
    );
  });

  it("invariant 11: takes off any repetition of 12 to 200 characters that is no run, and nothing else", () => {
    const letters = (length: number) =>
      fc
        .array(fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz ,.éß☃"), { minLength: length, maxLength: length + 80 })
        .map((all) => all.join(""));
    const overlaps = fc.integer({ min: 12, max: 240 });
    fc.assert(
      fc.property(
        overlaps.chain((overlap) => fc.tuple(fc.constant(overlap), letters(overlap + 1))),
        letters(0),
        fc.integer({ min: 1, max: 9 }),
        ([overlap, text], rest, size) => {
          const repeated = text.slice(-overlap);
          const pieces = (repeated + rest).match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
          const result = joined({ sent: text }, pieces);
          const taken = repeated.length + rest.length - result.length;
          // Whatever was taken off is what the text ends with, and the continuation begins with.
          expect((repeated + rest).endsWith(result)).toBe(true);
          expect(taken).toBeLessThanOrEqual(200);
          expect(text.endsWith((repeated + rest).slice(0, taken))).toBe(true);
          const isPlain = new Set(repeated).size > overlap / 2;
          if (overlap <= 200 && isPlain) expect(taken).toBeGreaterThanOrEqual(overlap);
          expect(joined({ sent: text }, [repeated + rest])).toBe(result);
        },
      ),
      { seed: 11, numRuns: 400 },
    );
  });

  it("holds nothing back beyond the first character that repeats nothing, and 200 at most", () => {
    const seam = new Seam({ sent: SENTENCE, unsent: "", isPrompted: false });
    expect(seam.push("it was")).toBe("");
    expect(seam.push("#")).toBe("it was#");
    expect(seam.isClosed).toBe(true);

    const long = Array.from({ length: 100 }, (_, index) => `${index},`).join("");
    const held = new Seam({ sent: long, unsent: "", isPrompted: false });
    expect(held.push(long.slice(-200, -1))).toBe("");
    expect(held.push(`${long.at(-1)}and`)).toBe("and");
  });

  it("passes everything where nothing was sent", () => {
    expect(joined({}, ["a", "b"])).toBe("ab");
    expect(joined({ unsent: " \n" }, [" ", "\nb"])).toBe("b");
  });
});
