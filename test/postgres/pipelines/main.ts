// node dist/test/postgres/pipelines/main.js --seconds N --seed N --differences N --version 15|18
// Plays histories for long; each difference is made short and printed. Exit status 1: there was one.

import { parseArgs } from 'node:util';
import { startCluster } from '../../servers/cluster.js';
import { play, shorten } from './play.js';
import { openStand } from './scene.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    differences: { type: 'string', default: '4' },
    version: { type: 'string', default: '18' },
    clients: { type: 'string', default: '8' },
  },
});
const seed = Number(values.seed);
process.stdout.write(`seed ${seed}\n`);
const cluster = await startCluster('postgres', { replicas: 1, version: Number(values.version) });
let status = 0;
try {
  const stand = await openStand(cluster);
  const played = await play(stand, {
    seed,
    clients: Number(values.clients),
    bursts: 25,
    seconds: Number(values.seconds),
    maxDifferences: Number(values.differences),
  });
  for (const difference of played.differences) {
    status = 1;
    const { text } = await shorten(stand, difference);
    process.stdout.write(`--- it differs\n${text}\n`);
  }
  for (const line of cluster.primary.logTail(2000).split('\n'))
    if (/terminated by signal|Failed process|TRAP|PANIC/.test(line)) process.stdout.write(`${line}\n`);
  process.stdout.write(
    `seed ${seed}: ${played.histories} histories, ${played.messages} messages, ${played.differences.length} differences${played.died ? ', the server crashed' : ''}\n`,
  );
  for (const [node, counted] of stand.proxy.proxy.counters().clusters.get('main')!.nodes) {
    const { sharedUnits, groupedUnits, retries } = counted;
    process.stdout.write(`${node}: ${sharedUnits} shared, ${groupedUnits} of them grouped\n`);
    process.stdout.write(`run again on ${node}: ${JSON.stringify(retries)}\n`);
  }
  await stand.proxy.stop();
} finally {
  await cluster.stop();
}
process.exitCode = status;
