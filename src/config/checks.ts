// What must hold between the fields of a configuration whose structure is right: problems forbid it, warnings only tell.
// Pure: it knows no file, and opens no connection.

import { type Problem, pathText } from './problems.js';
import { checkRule } from './rules.js';
import type { ClusterConfig, Config, UserConfig } from './schema.js';

export interface Checked {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

const WILDCARDS = ['0.0.0.0', '::', '*'];
const LOOPBACK = /^(localhost|127\..*|::1)$/;
const SCRAM_VERIFIER = /^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/]+=*\$[A-Za-z0-9+/]+=*:[A-Za-z0-9+/]+=*$/;
const MD5_VERIFIER = /^md5[0-9a-f]{32}$/;
/** As mysql.user has it: "*" and SHA1(SHA1(password)). */
const NATIVE_VERIFIER = /^\*[0-9A-Fa-f]{40}$/;

export function checkConfig(config: Config): Checked {
  const checker = new Checker();
  checker.listeners(config);
  checker.admin(config);
  checker.unique(config.clusters, ['clusters'], 'cluster');
  config.clusters.forEach((cluster, i) => {
    checker.cluster(cluster, ['clusters', i]);
    if (!config.listeners.some((listener) => listener.cluster === cluster.name)) {
      checker.warn(['clusters', i], `no listener leads to cluster "${cluster.name}"`);
    }
  });
  return checker;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Whether the second bind would fail. Two names of one address are found only by binding. */
function clash(a: Address, b: Address): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || WILDCARDS.includes(a.host) || WILDCARDS.includes(b.host);
}

class Checker {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];

  fail(path: readonly PropertyKey[], message: string): void {
    this.problems.push({ path: pathText(path), message });
  }

  warn(path: readonly PropertyKey[], message: string): void {
    this.warnings.push({ path: pathText(path), message });
  }

  unique(items: readonly { readonly name: string }[], path: readonly PropertyKey[], what: string): void {
    const seen = new Map<string, number>();
    items.forEach((item, i) => {
      const first = seen.get(item.name);
      if (first === undefined) seen.set(item.name, i);
      else this.fail([...path, i, 'name'], `${what} "${item.name}" is already ${pathText([...path, first])}`);
    });
  }

  listeners(config: Config): void {
    this.unique(config.listeners, ['listeners'], 'listener');
    config.listeners.forEach((listener, i) => {
      const other = config.listeners.findIndex((each, j) => j < i && clash(each, listener));
      if (other >= 0) {
        this.fail(['listeners', i, 'port'], `port ${listener.port} is already that of listeners[${other}]`);
      }
      const cluster = config.clusters.find((each) => each.name === listener.cluster);
      if (cluster !== undefined && listener.consistency?.scope !== undefined)
        this.scope(listener.consistency.scope, cluster, ['listeners', i, 'consistency', 'scope']);
      if (cluster?.protocol === 'mysql' && listener.auth !== 'auto' && listener.auth !== 'trust') {
        const message = `"${listener.auth}" is for PostgreSQL; a mysql cluster takes "auto" or "trust"`;
        this.fail(['listeners', i, 'auth'], message);
      }
      if (listener.auth === 'trust' && !LOOPBACK.test(listener.host)) {
        this.warn(
          ['listeners', i, 'auth'],
          `everybody who reaches ${listener.host} gets in without a password`,
        );
      }
    });
  }

  admin({ admin, listeners }: Config): void {
    if (!admin.enabled) return;
    const other = listeners.findIndex((listener) => clash(listener, admin));
    if (other >= 0) this.fail(['admin', 'port'], `port ${admin.port} is already that of listeners[${other}]`);
    if (admin.token === '') this.fail(['admin', 'token'], 'must not be empty');
    if (!LOOPBACK.test(admin.host)) {
      this.warn(['admin', 'host'], `status and metrics are readable by everybody who reaches ${admin.host}`);
    }
  }

  cluster(cluster: ClusterConfig, path: readonly PropertyKey[]): void {
    this.unique(cluster.nodes, [...path, 'nodes'], 'node');
    cluster.nodes.forEach((node, i) => {
      const other = cluster.nodes.findIndex(
        (each, j) => j < i && each.host === node.host && each.port === node.port,
      );
      const first = pathText([...path, 'nodes', other]);
      if (other >= 0) this.fail([...path, 'nodes', i], `${node.host} port ${node.port} is already ${first}`);
    });
    if (cluster.nodes.every((node) => node.mode === 'offline')) {
      this.warn([...path, 'nodes'], 'every node is offline: nothing can be served');
    }
    this.#balancing(cluster, path);
    this.#functions(cluster, path);
    this.unique(cluster.rules, [...path, 'rules'], 'rule');
    cluster.rules.forEach((rule, i) => {
      checkRule(rule, cluster, (at, message) => this.fail([...path, 'rules', i, ...at], message));
    });
    this.#failover(cluster, path);
    this.scope(cluster.consistency.scope, cluster, [...path, 'consistency', 'scope']);
    this.#redis(cluster, [...path, 'redis']);
    if (cluster.pool.idleTimeoutMs > cluster.pool.maxLifetimeMs) {
      this.warn(
        [...path, 'pool', 'idleTimeoutMs'],
        'is longer than maxLifetimeMs, which closes connections first',
      );
    }
    if (cluster.users === null) return;
    if (cluster.users.length === 0) this.warn([...path, 'users'], 'is empty: nobody can log in');
    this.unique(cluster.users, [...path, 'users'], 'user');
    cluster.users.forEach((user, i) => {
      this.#user(cluster, user, [...path, 'users', i]);
    });
  }

  #balancing({ nodes, routing }: ClusterConfig, path: readonly PropertyKey[]): void {
    if (nodes.every((node) => node.weight === 0)) {
      this.warn([...path, 'nodes'], 'every weight is 0: reads are spread evenly');
    }
    const { locality } = routing;
    if (locality === undefined) return;
    if (!nodes.some(({ tags }) => Object.hasOwn(tags, locality.tag) && tags[locality.tag] === locality.value))
      this.warn(
        [...path, 'routing', 'locality'],
        `no node has the tag ${locality.tag} "${locality.value}": none is near`,
      );
  }

  scope(
    scope: ClusterConfig['consistency']['scope'],
    { protocol }: ClusterConfig,
    path: readonly PropertyKey[],
  ): void {
    if (typeof scope === 'string') return;
    const isStartup = 'startupParameter' in scope;
    if (isStartup && protocol === 'mysql')
      this.fail(path, 'startupParameter is for PostgreSQL; a mysql cluster takes connectionAttribute');
    if (!isStartup && protocol === 'postgres')
      this.fail(path, 'connectionAttribute is for MySQL; a postgres cluster takes startupParameter');
  }

  #redis({ redis }: ClusterConfig, path: readonly PropertyKey[]): void {
    if (redis === null) return;
    if (redis.mode === 'sentinel' && redis.sentinel === null)
      this.fail([...path, 'sentinel'], 'missing; the mode "sentinel" needs the name of the master');
    if (redis.mode !== 'sentinel' && redis.sentinel !== null)
      this.fail([...path, 'sentinel'], `is for the mode "sentinel", and the mode is "${redis.mode}"`);
    if (redis.mode === 'single' && redis.nodes.length > 1)
      this.fail(
        [...path, 'nodes'],
        'the mode "single" takes one; for more there are "sentinel" and "cluster"',
      );
    if (redis.mode === 'cluster' && redis.database !== 0)
      this.fail([...path, 'database'], 'a Redis Cluster has only the database 0');
    if (redis.tls !== null && (redis.tls.cert === null) !== (redis.tls.key === null))
      this.fail([...path, 'tls'], 'cert and key belong together');
  }

  #functions(cluster: ClusterConfig, path: readonly PropertyKey[]): void {
    const { readFunctions, writeFunctions } = cluster.routing;
    for (const name of readFunctions) {
      if (writeFunctions.includes(name)) {
        this.fail([...path, 'routing'], `function "${name}" is in both readFunctions and writeFunctions`);
      }
    }
  }

  #failover(cluster: ClusterConfig, path: readonly PropertyKey[]): void {
    const { failover, nodes } = cluster;
    const promotable = nodes.filter(({ mode }) => mode === 'online' || mode === 'standby-only');
    if (failover.mode === 'automatic' && promotable.length < 2) {
      const message = 'automatic failover needs a second node that is set to neither offline nor drain';
      this.warn([...path, 'failover', 'mode'], message);
    }
    if (failover.mode === 'automatic' && failover.stateFile === null) {
      const message = 'none: after a restart the proxy does not know which node was primary before';
      this.warn([...path, 'failover', 'stateFile'], message);
    }
    if (failover.auditFile !== null && failover.auditFile === failover.stateFile) {
      this.fail([...path, 'failover', 'stateFile'], 'must not be the auditFile');
    }
  }

  #user(cluster: ClusterConfig, user: UserConfig, path: readonly PropertyKey[]): void {
    if (user.password === null && user.verifier === null) this.fail(path, 'needs a password or a verifier');
    if (user.password !== null && user.verifier !== null) {
      this.fail([...path, 'verifier'], 'a user has a password or a verifier, not both');
    }
    if (user.verifier !== null && user.verifier !== '') {
      const known =
        cluster.protocol === 'postgres'
          ? SCRAM_VERIFIER.test(user.verifier) || MD5_VERIFIER.test(user.verifier)
          : NATIVE_VERIFIER.test(user.verifier);
      const forms =
        cluster.protocol === 'postgres'
          ? 'SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key> or md5 and 32 hexadecimal digits'
          : '"*" and 40 hexadecimal digits (mysql_native_password)';
      if (!known) this.fail([...path, 'verifier'], `expected ${forms}`);
    }
    const limit = user.maxServerConnections;
    if (limit !== null && limit > cluster.pool.maxServerConnections) {
      const most = cluster.pool.maxServerConnections;
      this.warn([...path, 'maxServerConnections'], `is more than the ${most} of the pool, which holds`);
    }
  }
}
