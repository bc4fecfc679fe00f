/** `unit`: a UTF-16 unit or a byte, which are the same there; `undefined` is beyond the end. */
export function isHexDigit(unit: number | undefined): boolean {
  if (unit === undefined) return false;
  return (unit >= 0x30 && unit <= 0x39) || (unit >= 0x41 && unit <= 0x46) || (unit >= 0x61 && unit <= 0x66);
}

/** One of `" \ / b f n r t`. */
export function isSimpleEscape(unit: number | undefined): boolean {
  switch (unit) {
    case 0x22:
    case 0x5c:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return true;
    default:
      return false;
  }
}
