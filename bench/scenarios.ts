// The scenarios by name: which servers, modes, client counts and subjects each has. It runs nothing.

import type { Kind } from '../test/servers/available.js';

export const SUBJECTS = [
  'direct',
  'scheelite',
  /** The same at level `eventual`: what session consistency costs. */
  'scheelite-eventual',
  /** The same with a worker for each core: what workers bring. */
  'scheelite-auto',
  'pgbouncer',
  'haproxy',
  'pgpool',
  'mysqlrouter',
  /** Two sockets of Node and a pipe: what no proxy in Node can be faster than that sends each statement by itself. */
  'node-relay',
] as const;
export type SubjectName = (typeof SUBJECTS)[number];

export const MODES = ['simple', 'extended', 'prepared', 'text'] as const;
/** How far behind the replicas are, where that is what the scenario is about. */
export const LATE_MODES = ['20ms', '200ms', '2000ms'] as const;
export type LateMode = (typeof LATE_MODES)[number];
export type Mode = (typeof MODES)[number] | LateMode | 'idle';

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

/** What the scenarios about many rows read: three columns, about 60 bytes a row. */
export const ROWS_TABLE = 'bench_rows';
/** Of that table: 1 million at the default scale. */
export const ROWS_PER_SCALE = 250_000;

export interface PgbenchScenario extends ScenarioBase {
  readonly tool: 'pgbench';
  /** Built into pgbench, or all rows of our table. */
  readonly script: 'select-only' | 'tpcb-like' | 'rows';
  /** What one transaction of the script sends: pgbench counts transactions, we count statements. */
  readonly statementsPerTransaction: number;
  readonly writes: boolean;
}

export interface SysbenchScenario extends ScenarioBase {
  readonly tool: 'sysbench';
  /** Comes with sysbench, or all rows of our table. */
  readonly script: 'oltp_point_select' | 'oltp_read_write' | 'rows';
  readonly writes: boolean;
}

/** pgbench cannot COPY. */
export interface CopyScenario extends ScenarioBase {
  readonly tool: 'psql';
  readonly writes: false;
}

/** Point selects of many clients, alone and with one more client that runs heavy queries without pause. */
export interface NeighboursScenario extends ScenarioBase {
  readonly tool: 'neighbours';
  readonly writes: false;
}

export interface IdleScenario extends ScenarioBase {
  readonly tool: 'idle';
}

/** Reads and writes over replicas that are late, at each level of consistency. */
export interface LateScenario extends ScenarioBase {
  readonly tool: 'late';
}

export type LoadScenario = PgbenchScenario | SysbenchScenario | CopyScenario | NeighboursScenario;
export type Scenario = LoadScenario | IdleScenario | LateScenario;

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
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool'],
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
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool'],
  },
  {
    name: 'pg-rows',
    what: 'SELECT of 1 million rows with pgbench',
    tool: 'pgbench',
    script: 'rows',
    statementsPerTransaction: 1,
    writes: false,
    servers: ['postgres', 'postgres15'],
    modes: ['simple', 'extended', 'prepared'],
    defaultModes: ['simple'],
    defaultClients: [1, 8],
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool'],
  },
  {
    name: 'pg-copy',
    what: 'COPY TO STDOUT of the same rows with psql',
    tool: 'psql',
    writes: false,
    servers: ['postgres', 'postgres15'],
    modes: ['simple'],
    defaultModes: ['simple'],
    defaultClients: [1, 8],
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool'],
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
    name: 'my-rows',
    what: 'SELECT of 1 million rows with sysbench',
    tool: 'sysbench',
    script: 'rows',
    writes: false,
    servers: ['mysql', 'mariadb'],
    modes: ['text', 'prepared'],
    defaultModes: ['text'],
    defaultClients: [1, 8],
    defaultSubjects: ['direct', 'scheelite', 'haproxy', 'mysqlrouter'],
  },
  {
    name: 'neighbours',
    what: 'point selects, alone and beside one client that runs heavy queries without pause',
    tool: 'neighbours',
    writes: false,
    servers: ['postgres', 'postgres15', 'mysql', 'mariadb'],
    modes: ['simple', 'extended', 'prepared', 'text'],
    defaultModes: ['simple', 'text'],
    defaultClients: [64],
    defaultSubjects: ['direct', 'scheelite', 'pgbouncer', 'haproxy', 'pgpool', 'mysqlrouter'],
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
  {
    name: 'consistency',
    what: '10 % writes over replicas that are 20 ms, 200 ms and 2 s behind, at each level of consistency',
    tool: 'late',
    servers: ['postgres', 'postgres15', 'mysql', 'mariadb'],
    modes: LATE_MODES,
    defaultModes: LATE_MODES,
    defaultClients: [256],
    defaultSubjects: ['scheelite'],
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

const MODES_OF: Record<Kind, readonly Mode[]> = {
  postgres: ['simple', 'extended', 'prepared', 'idle', ...LATE_MODES],
  mysql: ['text', 'prepared', 'idle', ...LATE_MODES],
  mariadb: ['text', 'prepared', 'idle', ...LATE_MODES],
};

/** Of these modes, those that the server's load tool has. */
export function modesFor(kind: Kind, modes: readonly Mode[]): readonly Mode[] {
  return modes.filter((mode) => MODES_OF[kind].includes(mode));
}

/** Rows that each statement brings; null where that is not the point. */
export function rowsPerStatement(scenario: Scenario, scale: number): number | null {
  const many = scenario.tool === 'psql' || ('script' in scenario && scenario.script === 'rows');
  return many ? scale * ROWS_PER_SCALE : null;
}
