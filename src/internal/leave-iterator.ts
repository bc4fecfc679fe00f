const ignore = () => {};

/** Tells an iterator that nobody reads on, and waits for nothing: whatever its clean-up throws is its own affair. */
export function leaveIterator(iterator: AsyncIterator<unknown> | undefined): void {
  try {
    Promise.resolve(iterator?.return?.()).catch(ignore);
  } catch {
    // A `return` that throws at once.
  }
}
