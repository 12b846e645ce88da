// What a client of a story says: each step as the packet that says it, the form of its reply, and words for a person to read.
// It chooses nothing.

import type { ReplyForm } from './talk.js';

/** One parameter: a type of the protocol, with 0x8000 for unsigned, and its value's bytes; null: NULL. */
export interface Parameter {
  readonly type: number;
  readonly value: Buffer | null;
  readonly shown: string;
}

export type Step =
  | { readonly kind: 'query'; readonly sql: string; readonly file?: string }
  | { readonly kind: 'prepare'; readonly name: string; readonly sql: string }
  | {
      readonly kind: 'execute';
      readonly name: string;
      readonly values: readonly Parameter[];
      readonly withTypes: boolean;
      readonly cursor: boolean;
    }
  | { readonly kind: 'long-data'; readonly name: string; readonly at: number; readonly data: string }
  | { readonly kind: 'fetch'; readonly name: string; readonly rows: number }
  | { readonly kind: 'reset' | 'close'; readonly name: string }
  | { readonly kind: 'use'; readonly database: string }
  | { readonly kind: 'field-list'; readonly table: string }
  | { readonly kind: 'set-option'; readonly on: boolean }
  | { readonly kind: 'ping' | 'statistics' | 'reset-connection' }
  | { readonly kind: 'change-user'; readonly database: string };

export function plainQuery(sql: string): Step {
  return { kind: 'query', sql };
}

/** Where a step's names are: the databases of the proxied and of the bare side have names of one length. */
export interface Side {
  readonly database: string;
  readonly user: string;
  /** Ids of prepared statements by their names in the story. */
  readonly ids: Map<string, number>;
}

const NO_ID = 4_000_000;

export function formOf(step: Step): ReplyForm {
  switch (step.kind) {
    case 'prepare':
      return 'prepare';
    case 'long-data':
    case 'close':
      return 'none';
    case 'fetch':
      return 'rows';
    case 'field-list':
      return 'definitions';
    case 'statistics':
    case 'set-option':
      return 'one';
    case 'change-user':
      return 'login';
    default:
      return 'results';
  }
}

export function packetOf(step: Step, side: Side): Buffer {
  const text = (sql: string): string => sql.replaceAll('{db}', side.database);
  const id = (name: string): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(side.ids.get(name) ?? NO_ID);
    return bytes;
  };
  switch (step.kind) {
    case 'query':
      return Buffer.from(`\x03${text(step.sql)}`);
    case 'prepare':
      return Buffer.from(`\x16${text(step.sql)}`);
    case 'execute':
      return Buffer.concat([Buffer.of(0x17), id(step.name), execution(step)]);
    case 'long-data':
      return Buffer.concat([Buffer.of(0x18), id(step.name), Buffer.of(step.at, 0), Buffer.from(step.data)]);
    case 'fetch':
      return Buffer.concat([Buffer.of(0x1c), id(step.name), Buffer.of(step.rows, 0, 0, 0)]);
    case 'reset':
      return Buffer.concat([Buffer.of(0x1a), id(step.name)]);
    case 'close':
      return Buffer.concat([Buffer.of(0x19), id(step.name)]);
    case 'use':
      return Buffer.from(`\x02${text(step.database)}`);
    case 'field-list':
      return Buffer.from(`\x04${step.table}\0`);
    case 'set-option':
      return Buffer.of(0x1b, step.on ? 0 : 1, 0);
    case 'ping':
      return Buffer.of(0x0e);
    case 'statistics':
      return Buffer.of(0x09);
    case 'reset-connection':
      return Buffer.of(0x1f);
    case 'change-user': {
      const plugin = 'mysql_native_password';
      const names = Buffer.from(`${side.user}\0\0${text(step.database)}\0`);
      return Buffer.concat([Buffer.of(0x11), names, Buffer.of(45, 0), Buffer.from(`${plugin}\0`)]);
    }
  }
}

function execution({ values, withTypes, cursor }: Extract<Step, { kind: 'execute' }>): Buffer {
  const head = Buffer.of(cursor ? 1 : 0, 1, 0, 0, 0);
  if (values.length === 0) return head;
  const nulls = Buffer.alloc((values.length + 7) >> 3);
  for (const [i, { value }] of values.entries()) if (value === null) nulls[i >> 3]! |= 1 << (i & 7);
  const types = withTypes ? values.flatMap(({ type }) => [type & 0xff, type >> 8]) : [];
  const bytes = values.flatMap(({ value }) => (value === null ? [] : [value]));
  return Buffer.concat([head, nulls, Buffer.of(withTypes ? 1 : 0, ...types), ...bytes]);
}

export function shown(step: Step): string {
  switch (step.kind) {
    case 'query':
      return step.sql;
    case 'prepare':
      return `(prepare ${step.name}) ${step.sql}`;
    case 'execute': {
      const values = step.values.map((value) => value.shown).join(', ');
      return `(execute ${step.name}${step.withTypes ? '' : ', no types'}${step.cursor ? ', cursor' : ''}) ${values}`;
    }
    case 'long-data':
      return `(long data ${step.name} ${step.at}) ${step.data.length > 30 ? `${step.data.length} bytes` : step.data}`;
    case 'fetch':
      return `(fetch ${step.name} ${step.rows})`;
    case 'reset':
    case 'close':
      return `(${step.kind} ${step.name})`;
    case 'use':
    case 'change-user':
      return `(${step.kind} ${step.database})`;
    case 'field-list':
      return `(field list ${step.table})`;
    case 'set-option':
      return `(multi statements ${step.on ? 'on' : 'off'})`;
    default:
      return `(${step.kind})`;
  }
}
