// What the nodes of a PostgreSQL cluster are doing, by their own account.

import type { Row, TestNode } from '../servers/cluster.js';
import type { Stage } from './stage.js';

/** Statements with `text` in them that run now, on these nodes. */
export async function running(stage: Stage, text: string, nodes = stage.cluster.nodes): Promise<number> {
  const found = await Promise.all(
    nodes.filter((node) => node.pid !== undefined).map((node) => backends(node, text)),
  );
  return found.flat().filter((row) => row.state === 'active').length;
}

/** Of application users: `pid`, `usename`, `state`, `query`. */
export function backends(node: TestNode, text = ''): Promise<Row[]> {
  return node.admin(`
    SELECT pid, usename, state, query FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename <> 'postgres' AND position('${text}' IN query) > 0`);
}
