// Addresses and networks (RFC 4632, RFC 4291): whether an address is in a network.
// It opens no socket and asks nobody for a name.

/** Bytes of an address; IPv4 as the IPv6 address that it is mapped to (RFC 4291, 2.5.5.2). */
type Address = Uint8Array;

export interface Network {
  readonly address: Address;
  /** Of 128. */
  readonly bits: number;
}

const MAPPED_BITS = 96;

function parseV4(text: string): number[] | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes: number[] = [];
  for (const part of parts) {
    // A leading zero is octal to some, decimal to others.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes.push(Number(part));
  }
  return bytes;
}

function parseV6(text: string): number[] | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const bytes = groups.map((list, half) => {
    const out: number[] = [];
    for (const [i, group] of list.entries()) {
      const isLast = half === halves.length - 1 && i === list.length - 1;
      if (isLast && group.includes('.')) {
        const v4 = parseV4(group);
        if (v4 === null) return null;
        out.push(...v4);
      } else if (/^[0-9a-f]{1,4}$/i.test(group)) {
        const value = Number.parseInt(group, 16);
        out.push(value >> 8, value & 0xff);
      } else return null;
    }
    return out;
  });
  const [head, tail] = bytes;
  if (head == null || tail === null) return null;
  if (tail === undefined) return head.length === 16 ? head : null;
  const zeros = 16 - head.length - tail.length;
  return zeros < 2 ? null : [...head, ...new Array<number>(zeros).fill(0), ...tail];
}

function parseAddress(text: string): Address | null {
  const v4 = parseV4(text);
  if (v4 !== null) return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...v4]);
  // A zone (fe80::1%eth0) says where an address is, not which.
  const v6 = parseV6(text.replace(/%.*$/, ''));
  return v6 === null ? null : Uint8Array.from(v6);
}

/** `10.0.0.0/8`, `fd00::/8`, or one address; null when it is neither. */
export function parseNetwork(text: string): Network | null {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === null) return null;
  if (slash < 0) return { address, bits: 128 };
  const isV4 = !text.includes(':');
  const length = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > (isV4 ? 32 : 128)) return null;
  return { address, bits: Number(length) + (isV4 ? MAPPED_BITS : 0) };
}

/** False for what is no address. */
export function isInNetwork(text: string, { address, bits }: Network): boolean {
  const own = parseAddress(text);
  if (own === null) return false;
  for (let i = 0; i * 8 < bits; i++) {
    const mask = bits - i * 8 >= 8 ? 0xff : (0xff << (8 - (bits - i * 8))) & 0xff;
    if (((own[i]! ^ address[i]!) & mask) !== 0) return false;
  }
  return true;
}
