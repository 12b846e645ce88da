// What a started proxy offers to the process around it: the contract between the serve command and compose.ts.
// Types only; it knows neither files, signals nor HTTP.

import type { Logger } from 'pino';
import type {
  ExplainReport,
  ExplainRequest,
  SessionsReport,
  SessionsRequest,
  Unanswerable,
} from '../admin/explain.js';
import type { ProxyState } from '../admin/source.js';
import type { Config } from '../config/schema.js';
import type { Counters } from '../telemetry/counters.js';
import type { ClusterStatements } from '../telemetry/statement-report.js';

export interface StartOptions {
  readonly config: Config;
  /** Where it came from, for messages; null in the demo. */
  readonly configPath: string | null;
  readonly log: Logger;
  /** Writes whole lines that workers have logged to where `log` writes; absent: to standard output. */
  readonly writeLog?: (lines: string) => void;
}

export interface ListenerAddress {
  readonly name: string;
  readonly host: string;
  /** The real one, also where the configuration says 0. */
  readonly port: number;
}

/** All or nothing. The caller has refused what needs a restart (config/diff.ts) before it asks. */
export type ReloadResult =
  | { readonly ok: true }
  /** Nothing was changed, and why. */
  | { readonly ok: false; readonly problems: readonly string[] };

export interface RunningProxy {
  /** For the admin server; process, configuration and reload are added by `serve`. */
  readonly admin: ProxyState;
  readonly listeners: readonly ListenerAddress[];
  /** Asks the workers, where there are any, for what `admin` and `counters` are to tell. Never rejects. */
  refresh(): Promise<void>;
  /** Runs nothing and changes nothing. */
  explain(request: ExplainRequest): Promise<ExplainReport | Unanswerable>;
  sessions(request: SessionsRequest): Promise<SessionsReport>;
  /** Called once a scrape; takes over what pools, caches and the monitor count by themselves. */
  counters(): Counters;
  /** Of all workers, as of the last `refresh`. */
  statements(): readonly ClusterStatements[];
  /** What workers have not told yet is not counted either once the next `refresh` resolves. */
  resetStatements(): void;
  /**
   * Takes over a valid configuration that differs from the running one only in live settings; synchronous, drops no connection.
   * Workers have taken it over when the next `refresh` resolves.
   */
  reload(next: Config): ReloadResult;
  /** No new clients; resolves once the last one has left or `limits.drainMs` is over. Idle clients are told and closed. */
  drain(): Promise<void>;
  /** Closes everything at once; also after drain(). Idempotent. */
  close(): Promise<void>;
}

/** Signature of `startProxy` in compose.ts. Rejects when a listener cannot bind; nothing is left open then. */
export type StartProxy = (options: StartOptions) => Promise<RunningProxy>;
