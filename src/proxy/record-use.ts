// What a unit has shown under its keys, told to all processes that share them before its client is.
// It knows no session: whatever was shown, the primary had it at the unit's end, so a position that is asked for now covers it.

import type { KeyedWatermark } from '../consistency/keyed-watermarks.js';
import {
  type SharedPosition,
  UNKNOWN_POSITION,
  type WatermarkStore,
} from '../consistency/watermark-store.js';
import type { ClusterRuntime } from './cluster-runtime.js';

/** Calls `then` once every process that could be asked for the keys knows of it, or is in doubt. */
export function recordUse(
  cluster: Pick<ClusterRuntime, 'sharedPosition'>,
  store: WatermarkStore,
  keys: readonly KeyedWatermark[],
  then: () => void,
): void {
  let left = keys.length;
  const settled = (): void => {
    if (--left === 0) then();
  };
  cluster.sharedPosition((position) => {
    const isKnown = position !== null;
    const shared = position ?? UNKNOWN_POSITION;
    const record = recordOf(store.incarnation, shared);
    for (const each of keys) {
      // Nothing has been written since: it is there already.
      if (isKnown && each.recorded === record) {
        settled();
        continue;
      }
      store.write(each.key, shared, (incarnation) => {
        each.recorded = isKnown && incarnation !== null ? recordOf(incarnation, shared) : '';
        settled();
      });
    }
  });
}

function recordOf(incarnation: string, { primary, text }: SharedPosition): string {
  return `${incarnation}\n${primary}\n${text}`;
}
