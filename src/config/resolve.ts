// From a parsed file to a Config: secrets, names and defaults by protocol filled in, relative paths made absolute.
// It reads no file and no environment by itself: both are given to it.

import { resolve as resolvePath } from 'node:path';
import { hostPort } from '../lib/address.js';
import { checkConfig } from './checks.js';
import { type Problem, pathText, problemText } from './problems.js';
import { checkParsedRule, resolveRule } from './rules.js';
import {
  type ClusterConfig,
  type Config,
  type ConfigInput,
  configSchema,
  type ListenerConfig,
  type NodeConfig,
  type ParsedConfig,
  type Secret,
} from './schema.js';
import { problemsOf } from './schema-problems.js';

export const DEFAULTS_BY_PROTOCOL = {
  postgres: { listenerPort: 6432, nodePort: 5432, monitorUser: 'postgres', monitorDatabase: 'postgres' },
  mysql: { listenerPort: 6446, nodePort: 3306, monitorUser: 'root', monitorDatabase: 'mysql' },
} as const;

/** What the outside contributes. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths in the file start here. */
  readonly baseDir: string;
  /** The text of a secret's file by its absolute path, or why it cannot be read. */
  readonly secretFiles: ReadonlyMap<string, string | Error>;
}

export interface Resolved {
  /** Null when there is any problem. */
  readonly config: Config | null;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export interface Parsed {
  /** Null when the structure is wrong beyond unknown keys. */
  readonly parsed: ParsedConfig | null;
  readonly problems: readonly Problem[];
}

/** Checks the structure. Unknown keys are problems, but hide no others. */
export function parseStructure(input: unknown): Parsed {
  const first = configSchema.safeParse(input);
  if (first.success) return { parsed: first.data, problems: [] };
  const problems = problemsOf(first.error.issues, input);
  if (first.error.issues.some((issue) => issue.code !== 'unrecognized_keys'))
    return { parsed: null, problems };
  const known = structuredClone(input);
  for (const issue of first.error.issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    let holder = known as Record<PropertyKey, unknown>;
    for (const part of issue.path) holder = holder[part] as Record<PropertyKey, unknown>;
    for (const key of issue.keys) delete holder[key];
  }
  return { parsed: configSchema.parse(known), problems };
}

/** Absolute paths of the files that hold secrets, or certificates. */
export function secretFilesOf(parsed: ParsedConfig, baseDir: string): string[] {
  const secrets: (Secret | undefined)[] = [parsed.admin.token];
  for (const cluster of parsed.clusters) {
    const { redis } = cluster;
    secrets.push(cluster.monitor.password, redis?.password, redis?.sentinel?.password);
    for (const file of [redis?.tls?.ca, redis?.tls?.cert, redis?.tls?.key])
      if (file !== undefined) secrets.push({ file });
    for (const user of cluster.users ?? []) secrets.push(user.password, user.verifier);
  }
  const paths = new Set<string>();
  for (const secret of secrets) {
    if (typeof secret === 'object' && 'file' in secret) paths.add(resolvePath(baseDir, secret.file));
  }
  return [...paths];
}

export function resolveConfig(parsed: ParsedConfig, around: Surroundings): Resolved {
  const resolver = new Resolver(around);
  const config = resolver.config(parsed);
  const checked = checkConfig(config);
  const problems = [...resolver.problems, ...checked.problems];
  return { config: problems.length === 0 ? config : null, problems, warnings: checked.warnings };
}

/** A configuration made by a program, as the demo and tests do; secrets by value or environment. Throws on any problem. */
export function configFrom(input: ConfigInput): Config {
  const { parsed, problems } = parseStructure(input);
  const around = { env: process.env, baseDir: process.cwd(), secretFiles: new Map() };
  const resolved = parsed === null ? null : resolveConfig(parsed, around);
  const all = [...problems, ...(resolved?.problems ?? [])];
  if (resolved === null || resolved.config === null || all.length > 0) {
    throw new Error(`configuration: ${all.map((problem) => problemText(problem)).join('; ')}`);
  }
  return resolved.config;
}

class Resolver {
  readonly problems: Problem[] = [];
  readonly #around: Surroundings;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  config(parsed: ParsedConfig): Config {
    const clusters = parsed.clusters.map((cluster, i) => this.#cluster(cluster, i));
    return {
      listeners: parsed.listeners.map((listener, i) => this.#listener(listener, i, clusters)),
      clusters,
      admin: { ...parsed.admin, token: this.#secret(parsed.admin.token, ['admin', 'token']) },
      log: parsed.log,
      telemetry: parsed.telemetry,
      limits: parsed.limits,
      workers: parsed.workers,
      busyPollUs: parsed.busyPollUs,
    };
  }

  #listener(
    listener: ParsedConfig['listeners'][number],
    index: number,
    clusters: readonly ClusterConfig[],
  ): ListenerConfig {
    const path = pathText(['listeners', index, 'cluster']);
    const names = clusters.map((cluster) => cluster.name);
    let cluster = listener.cluster;
    if (cluster === undefined) {
      if (clusters.length > 1) {
        this.problems.push({ path, message: `missing; there is more than one cluster: ${names.join(', ')}` });
      }
      cluster = names[0]!;
    } else if (!names.includes(cluster)) {
      this.problems.push({
        path,
        message: `no cluster is named "${cluster}"; there is: ${names.join(', ')}`,
      });
    }
    const protocol = clusters.find((each) => each.name === cluster)?.protocol ?? 'postgres';
    const port = listener.port ?? DEFAULTS_BY_PROTOCOL[protocol].listenerPort;
    return { ...listener, name: listener.name ?? hostPort(listener.host, port), cluster, port };
  }

  #cluster(cluster: ParsedConfig['clusters'][number], index: number): ClusterConfig {
    const path = ['clusters', index];
    const defaults = DEFAULTS_BY_PROTOCOL[cluster.protocol];
    const { monitor, failover, redis } = cluster;
    return {
      ...cluster,
      nodes: cluster.nodes.map((node): NodeConfig => {
        const port = node.port ?? defaults.nodePort;
        return { ...node, name: node.name ?? hostPort(node.host, port), port };
      }),
      monitor: {
        ...monitor,
        user: monitor.user ?? defaults.monitorUser,
        password: this.#secret(monitor.password, [...path, 'monitor', 'password']) ?? '',
        database: monitor.database ?? defaults.monitorDatabase,
      },
      failover: {
        ...failover,
        auditFile: this.#file(failover.auditFile),
        stateFile: this.#file(failover.stateFile),
      },
      rules: cluster.rules.map((rule, i) => {
        checkParsedRule(rule, cluster.protocol, (at, message) =>
          this.problems.push({ path: pathText([...path, 'rules', i, ...at]), message }),
        );
        return resolveRule(rule, i, cluster.protocol);
      }),
      redis: redis === undefined ? null : this.#redis(redis, [...path, 'redis']),
      users:
        cluster.users?.map((user, i) => ({
          name: user.name,
          password: this.#secret(user.password, [...path, 'users', i, 'password']),
          verifier: this.#secret(user.verifier, [...path, 'users', i, 'verifier']),
          maxServerConnections: user.maxServerConnections ?? null,
          ...(user.sharing === undefined ? {} : { sharing: user.sharing }),
          ...(user.autoPrepare === undefined ? {} : { autoPrepare: user.autoPrepare }),
          ...(user.consistency === undefined ? {} : { consistency: user.consistency }),
        })) ?? null,
    };
  }

  #redis(redis: NonNullable<ParsedConfig['clusters'][number]['redis']>, path: readonly PropertyKey[]) {
    const { tls, sentinel, ...rest } = redis;
    return {
      ...rest,
      member: redis.member ?? null,
      username: redis.username ?? null,
      password: this.#secret(redis.password, [...path, 'password']),
      sentinel:
        sentinel === undefined
          ? null
          : {
              name: sentinel.name,
              username: sentinel.username ?? null,
              password: this.#secret(sentinel.password, [...path, 'sentinel', 'password']),
              tls: sentinel.tls,
            },
      tls:
        tls === undefined
          ? null
          : {
              ca: this.#readable(tls.ca, [...path, 'tls', 'ca']),
              cert: this.#readable(tls.cert, [...path, 'tls', 'cert']),
              key: this.#readable(tls.key, [...path, 'tls', 'key']),
              serverName: tls.serverName ?? null,
            },
    };
  }

  #file(path: string | undefined): string | null {
    return path === undefined ? null : resolvePath(this.#around.baseDir, path);
  }

  #readable(file: string | undefined, path: readonly PropertyKey[]): string | null {
    const absolute = this.#file(file);
    if (absolute === null) return null;
    const text = this.#around.secretFiles.get(absolute);
    if (text instanceof Error)
      this.problems.push({ path: pathText(path), message: `cannot read ${file}: ${text.message}` });
    return absolute;
  }

  #secret(secret: Secret | undefined, path: readonly PropertyKey[]): string | null {
    if (secret === undefined) return null;
    if (typeof secret === 'string') return secret;
    if ('env' in secret) {
      const value = this.#around.env[secret.env];
      if (value !== undefined) return value;
      const message = `environment variable ${secret.env} is not set`;
      this.problems.push({ path: pathText([...path, 'env']), message });
    } else {
      const text = this.#around.secretFiles.get(resolvePath(this.#around.baseDir, secret.file));
      if (typeof text === 'string') return text.replace(/\r?\n$/, '');
      const message = `cannot read ${secret.file}: ${text?.message ?? 'files are not read here'}`;
      this.problems.push({ path: pathText([...path, 'file']), message });
    }
    // Not null: that would look as if there were none, and be reported as a second problem.
    return '';
  }
}
