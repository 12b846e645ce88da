// A program for servers.test.ts: starts a cluster, says where, and waits to be ended in some way.

import { startCluster } from './cluster.js';
import { testRoot } from './root.js';

process.on('SIGUSR2', () => {
  throw new Error('a crash, as ordered');
});
await startCluster(process.argv[2] === 'mariadb' ? 'mariadb' : 'postgres', { replicas: 1 });
console.log(testRoot().path);
setInterval(() => undefined, 60_000);
