/** What a pattern of names may hold: a name of a model, or a part of one, and any number of `*`. */
export const PATTERN = /^[A-Za-z0-9._:@/*-]{1,256}$/;

/** Longer names are no names of models, and match nothing. */
const LONGEST_NAME = 256;

/**
 * Compiles a pattern; `*` stands for any run of characters, also for none.
 *
 * Looks for the fixed parts one after the other and never goes back (the leftmost place of each is always as good as a
 * later one), so that no pattern can make it slow, as it could with a regular expression.
 */
export function patternMatcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split("*");
  const first = parts[0] ?? "";
  if (parts.length === 1) return (name) => name === pattern;
  const last = parts.at(-1) ?? "";
  const middle = parts.slice(1, -1).filter((part) => part !== "");
  return (name) => {
    if (name.length > LONGEST_NAME || name.length < first.length + last.length) return false;
    if (!name.startsWith(first) || !name.endsWith(last)) return false;
    const end = name.length - last.length;
    let at = first.length;
    for (const part of middle) {
      const found = name.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
      if (at > end) return false;
    }
    return true;
  };
}

/**
 * Compiles an allow-list: a name has to match one of the patterns, and none of those that begin with `!`, wherever they
 * stand.
 */
export function allowList(patterns: readonly string[]): (name: string) => boolean {
  const allows = patterns.filter((pattern) => !pattern.startsWith("!")).map(patternMatcher);
  const denies = patterns
    .filter((pattern) => pattern.startsWith("!"))
    .map((pattern) => patternMatcher(pattern.slice(1)));
  return (name) => allows.some((matches) => matches(name)) && !denies.some((matches) => matches(name));
}
