// What the nodes of a MySQL or MariaDB cluster are doing, by their own account.

import type { Row, TestNode } from '../servers/cluster.js';
import type { Stage } from './stage.js';

/** Statements of the application with `text` in them that run now, on these nodes. */
export async function running(stage: Stage, text: string, nodes = stage.cluster.nodes): Promise<number> {
  const found = await Promise.all(
    nodes.filter((node) => node.pid !== undefined).map((node) => threads(node)),
  );
  return found.flat().filter((row) => String(row.info ?? '').includes(text)).length;
}

/** `id` and `info` of the application's connections. */
export function threads(node: TestNode): Promise<Row[]> {
  return node.admin("SELECT ID AS id, INFO AS info FROM information_schema.PROCESSLIST WHERE USER = 'app'");
}
