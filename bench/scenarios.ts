// The scenarios by name: which servers, modes, client counts and subjects each has. It runs nothing.

import type { Kind } from '../test/servers/available.js';

export const SUBJECTS = ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool', 'mysqlrouter'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

export const MODES = ['simple', 'extended', 'prepared', 'text'] as const;
export type Mode = (typeof MODES)[number] | 'idle';

/** A server as `--server` names it. */
export const SERVERS = {
  postgres: { kind: 'postgres', version: 18 },
  postgres15: { kind: 'postgres', version: 15 },
  mysql: { kind: 'mysql' },
  mariadb: { kind: 'mariadb' },
} as const satisfies Record<string, { kind: Kind; version?: number }>;
export type ServerName = keyof typeof SERVERS;

interface ScenarioBase {
  readonly name: string;
  readonly what: string;
  /** The first one is the default. */
  readonly servers: readonly ServerName[];
  readonly modes: readonly Mode[];
  readonly defaultModes: readonly Mode[];
  readonly defaultClients: readonly number[];
  readonly defaultSubjects: readonly SubjectName[];
}

export interface PgbenchScenario extends ScenarioBase {
  readonly tool: 'pgbench';
  /** Name of a script that pgbench has built in. */
  readonly script: 'select-only' | 'tpcb-like';
  /** What one transaction of the script sends: pgbench counts transactions, we count statements. */
  readonly statementsPerTransaction: number;
  readonly writes: boolean;
}

export interface SysbenchScenario extends ScenarioBase {
  readonly tool: 'sysbench';
  readonly script: 'oltp_point_select' | 'oltp_read_write';
  readonly writes: boolean;
}

export interface IdleScenario extends ScenarioBase {
  readonly tool: 'idle';
}

export type LoadScenario = PgbenchScenario | SysbenchScenario;
export type Scenario = LoadScenario | IdleScenario;

const all: readonly Scenario[] = [
  {
    name: 'pg-select',
    what: 'pgbench -S: one row by its primary key',
    tool: 'pgbench',
    script: 'select-only',
    statementsPerTransaction: 1,
    writes: false,
    servers: ['postgres', 'postgres15'],
    modes: ['simple', 'extended', 'prepared'],
    defaultModes: ['simple', 'extended', 'prepared'],
    defaultClients: [16, 64],
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy'],
  },
  {
    name: 'pg-mix',
    what: "pgbench's default transaction: three updates, a select, an insert",
    tool: 'pgbench',
    script: 'tpcb-like',
    statementsPerTransaction: 7,
    writes: true,
    servers: ['postgres', 'postgres15'],
    modes: ['simple', 'extended', 'prepared'],
    defaultModes: ['simple'],
    defaultClients: [16, 64],
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy'],
  },
  {
    name: 'my-point',
    what: 'sysbench oltp_point_select: one row by its primary key',
    tool: 'sysbench',
    script: 'oltp_point_select',
    writes: false,
    servers: ['mysql', 'mariadb'],
    modes: ['text', 'prepared'],
    defaultModes: ['text', 'prepared'],
    defaultClients: [16, 64],
    defaultSubjects: ['direct', 'scheelite', 'haproxy', 'mysqlrouter'],
  },
  {
    name: 'my-mix',
    what: 'sysbench oltp_read_write: 14 reads and 4 writes in a transaction',
    tool: 'sysbench',
    script: 'oltp_read_write',
    writes: true,
    servers: ['mysql', 'mariadb'],
    modes: ['text', 'prepared'],
    defaultModes: ['prepared'],
    defaultClients: [16, 64],
    defaultSubjects: ['direct', 'scheelite', 'haproxy', 'mysqlrouter'],
  },
  {
    name: 'idle-memory',
    what: 'resident memory of the proxy with idle clients that have run one query each',
    tool: 'idle',
    servers: ['postgres', 'postgres15', 'mysql', 'mariadb'],
    modes: ['idle'],
    defaultModes: ['idle'],
    defaultClients: [1_000],
    defaultSubjects: ['scheelite', 'pgbouncer', 'haproxy'],
  },
];

export const SCENARIOS: ReadonlyMap<string, Scenario> = new Map(
  all.map((scenario) => [scenario.name, scenario]),
);

const ONLY_FOR: Partial<Record<SubjectName, Kind[]>> = {
  pgbouncer: ['postgres'],
  pgpool: ['postgres'],
  mysqlrouter: ['mysql', 'mariadb'],
};

/** Whether the subject speaks the server's protocol. */
export function speaks(subject: SubjectName, kind: Kind): boolean {
  return ONLY_FOR[subject]?.includes(kind) ?? true;
}
