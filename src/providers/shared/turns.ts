/** What one side of a conversation said before the other spoke. */
export interface Turn<Role extends string, Block> {
  readonly role: Role;
  readonly blocks: readonly Block[];
}

/**
 * Collects messages as alternating turns, for dialects that know no tool messages of their own: neighbours of one role
 * become one turn, and in it the results of tools come before everything else.
 */
export class Turns<Role extends string, Block> {
  readonly #turns: { readonly role: Role; readonly results: Block[]; readonly blocks: Block[] }[] = [];

  /** @param results - Answers to the tool calls of the turn before. */
  add(role: Role, blocks: readonly Block[], results: readonly Block[] = []): void {
    let turn = this.#turns.at(-1);
    if (turn?.role !== role) {
      turn = { role, results: [], blocks: [] };
      this.#turns.push(turn);
    }
    turn.results.push(...results);
    turn.blocks.push(...blocks);
  }

  /**
   * The turns, of which the first is `firstRole`'s and none is empty.
   * @param placeholder - Stands where a turn would have no content.
   */
  alternating(firstRole: Role, placeholder: Block): Turn<Role, Block>[] {
    const turns = this.#turns.map(({ role, results, blocks }): Turn<Role, Block> => {
      const all = [...results, ...blocks];
      return { role, blocks: all.length > 0 ? all : [placeholder] };
    });
    if (turns[0]?.role !== firstRole) turns.unshift({ role: firstRole, blocks: [placeholder] });
    return turns;
  }
}
