import type { GroupState } from "./runtime.js";

/**
 * A request that refers to something which exists at one account only (routing §4, invariant 15): it goes there or fails. It
 * is not tried elsewhere, not hedged, not continued, not copied, and not handed to a group that has other accounts.
 */
export class Pin {
  /** The deployment that the request was sent to, and may be sent to again. */
  #sentTo: { readonly group: string; readonly deployment: string } | undefined;

  /**
   * @param account - `undefined`: nobody can serve the request at all.
   * @param isGrowing - The request changes what it refers to.
   */
  constructor(
    readonly account: string | undefined,
    private readonly isGrowing: boolean,
  ) {}

  /** Every deployment of the group is of the account. */
  allows({ pool }: GroupState): boolean {
    return pool.candidates.every(({ deployment }) => deployment.account === this.account);
  }

  /** Only this deployment, of a group in which one was tried. */
  deploymentIn({ name }: GroupState): string | undefined {
    return this.#sentTo?.group === name ? this.#sentTo.deployment : undefined;
  }

  /** Of this group nobody else is asked from here on. */
  noteFailed({ name: group }: GroupState, deployment: string): void {
    this.#sentTo = { group, deployment };
  }

  /**
   * May the same deployment be asked once more? What goes on with something of the provider's might go on twice.
   *
   * @param wasRefused - The upstream has not begun with it.
   */
  mayRepeat(wasRefused: boolean): boolean {
    return wasRefused || !this.isGrowing;
  }
}
