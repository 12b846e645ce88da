// What a statement's leading hint says of its policy. It narrows or widens where a read may go; it never makes a read of
// anything else. It knows the nodes by name and tags only.

import type { Hint } from '../sql/statement.js';
import type { ConsistencyLevel } from './decide.js';
import { type Fallback, NO_LAYER, type PolicyLayer, type Target, TO_PRIMARY, TO_REPLICA } from './policy.js';

export interface HintScope {
  readonly levels: readonly ConsistencyLevel[];
  readonly nodes: readonly { readonly name: string; readonly tags: Readonly<Record<string, string>> }[];
}

export interface ReadHint {
  readonly layer: PolicyLayer;
  /** Directives that say nothing to us, as written; they leave things as they are: a comment must not break a statement. */
  readonly unread: readonly string[];
}

/** Nine digits of milliseconds are eleven days. */
const MILLISECONDS = /^\d{1,9}$/;
const FALLBACKS: readonly string[] = ['primary', 'hold'] satisfies Fallback[];
const MAX_KEY_LENGTH = 255;

/**
 * `route=primary|replica|node:NAME|tag:NAME=VALUE`, `fallback=primary|hold`, `consistency=<level>`, `maxLagMs=`, `waitMs=` and
 * `timeoutMs=<ms>`, `session=<key>`.
 */
export function readHint(hint: Hint, scope: HintScope): ReadHint {
  const unread: string[] = [];
  const layer: { -readonly [K in keyof PolicyLayer]: PolicyLayer[K] } = { ...NO_LAYER };
  for (const [key, value] of hint)
    if (!readDirective(key, value, scope, layer)) unread.push(`${key}=${value}`);
  return { layer, unread };
}

function readDirective(
  key: string,
  value: string,
  scope: HintScope,
  layer: { -readonly [K in keyof PolicyLayer]: PolicyLayer[K] },
): boolean {
  switch (key) {
    case 'route': {
      const target = targetOf(value, scope);
      layer.target = target ?? layer.target;
      return target !== null;
    }
    case 'fallback':
      if (!FALLBACKS.includes(value)) return false;
      layer.fallback = value as Fallback;
      return true;
    case 'consistency':
      if (!(scope.levels as readonly string[]).includes(value)) return false;
      layer.consistency = value as ConsistencyLevel;
      return true;
    case 'maxlagms':
    case 'waitms':
    case 'timeoutms': {
      if (!MILLISECONDS.test(value)) return false;
      const ms = Number(value);
      if (key === 'maxlagms') layer.maxLagMs = ms;
      else if (key === 'waitms') layer.waitMs = ms;
      else if (ms === 0) return false;
      else layer.timeoutMs = ms;
      return true;
    }
    case 'session':
      if (value === '' || value.length > MAX_KEY_LENGTH) return false;
      layer.sessionKey = value;
      return true;
    default:
      return false;
  }
}

/** Null: it names nothing that is there. */
function targetOf(value: string, { nodes }: HintScope): Target | null {
  if (value === 'primary') return TO_PRIMARY;
  if (value === 'replica') return TO_REPLICA;
  if (value.startsWith('node:')) {
    const name = value.slice('node:'.length);
    return nodes.some((node) => node.name === name) ? { kind: 'node', name } : null;
  }
  const match = /^tag:([^=]+)=(.*)$/.exec(value);
  if (match === null) return null;
  const [, tag, wanted] = match as unknown as [string, string, string];
  return nodes.some(({ tags }) => tags[tag] === wanted) ? { kind: 'tag', tag, value: wanted } : null;
}
