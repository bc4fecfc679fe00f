/** A body for the wire. */
export interface EncodedBody {
  readonly text: string;
  readonly dropped: readonly string[] | undefined;
}

/** The fields of a request that were left out or approximated. */
export class DroppedFields {
  fields: string[] | undefined;

  add(field: string): void {
    if (!this.fields) this.fields = [field];
    else if (!this.fields.includes(field)) this.fields.push(field);
  }
}
