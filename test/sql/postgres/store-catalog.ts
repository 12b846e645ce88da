// Writes test/golden/postgres/catalog.json anew: the catalog of a real PostgreSQL 18 with schema.sql. Run after a change of
// schema.sql or of the catalog queries: node dist/test/sql/postgres/store-catalog.js

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startCluster } from '../../servers/cluster.js';
import { goldenSchema, readCatalogRows, storeCatalog } from './fixture.js';

const cluster = await startCluster('postgres', { version: 18, replicas: 0 });
try {
  await cluster.primary.admin(goldenSchema());
  const rows = await readCatalogRows((sql) => cluster.primary.admin(sql));
  const path = fileURLToPath(new URL('../../../../test/golden/postgres/catalog.json', import.meta.url));
  writeFileSync(path, storeCatalog(rows));
} finally {
  await cluster.stop();
}
