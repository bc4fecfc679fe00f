/** Longer words are no typing mistakes of short names, and would cost time quadratic in their length. */
const MAX_LENGTH = 64;

/**
 * The candidate that `word` most likely was meant to be: the nearest by Damerau–Levenshtein distance (insertions,
 * deletions, replacements, swaps of neighbours), at most two away and at most a third of the word's length, but
 * always one. Letter case counts for nothing, so that `timeoutMS` is near to `timeoutMs`.
 *
 * @returns the first of equally near candidates; `undefined` if `word` is one of them, or near to none.
 */
export function nearMiss(word: string, candidates: Iterable<string>): string | undefined {
  const lowerWord = word.toLowerCase();
  if (word.length > MAX_LENGTH) return undefined;
  let best: string | undefined;
  let bestDistance = Math.min(2, Math.max(1, Math.floor(word.length / 3))) + 1;
  for (const candidate of candidates) {
    if (candidate === word) return undefined;
    if (candidate.length > MAX_LENGTH) continue;
    const distance = editDistance(lowerWord, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Restricted Damerau–Levenshtein distance ("optimal string alignment"), with three rows of the table at a time. */
function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const isSame = left[row - 1] === right[column - 1];
      let distance = Math.min(
        cell(last, column) + 1,
        cell(current, column - 1) + 1,
        cell(last, column - 1) + (isSame ? 0 : 1),
      );
      const isSwap =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (isSwap) distance = Math.min(distance, cell(beforeLast, column - 2) + 1);
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return cell(last, right.length);
}

/** Every cell that is read has been written: rows have one more column than `right` has characters. */
function cell(row: readonly number[], column: number): number {
  return row[column] ?? 0;
}
