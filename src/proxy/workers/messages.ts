// What the supervisor and its workers say to each other over node's IPC channel, by structured clone.
// Types only. A channel keeps its order: whoever has been answered has acted on all that was sent before.

import type { ExplainRequest, SessionsRequest } from '../../admin/explain.js';
import type { Config } from '../../config/schema.js';
import type { SharedPosition } from '../../consistency/watermark-store.js';
import type { StoredVerifier } from '../../protocol/node-control.js';
import type { PeerRequest } from '../../protocol/protocol.js';
import type { Counters } from '../../telemetry/counters.js';
import type { StatementsPart } from '../../telemetry/statements.js';
import type { ListenerAddress } from '../running-proxy.js';
import type { WireSnapshot } from './wire-snapshot.js';

/** The environment variable that tells a process which worker it is: 1, 2 ... */
export const WORKER_VARIABLE = 'SCHEELITE_WORKER';
/** What the clusters speak, with commas: known before the configuration is sent, since it takes time to load. */
export const PROTOCOLS_VARIABLE = 'SCHEELITE_PROTOCOLS';

/** How much of one limit a worker may use; `seq` rises with each. */
export interface Allowed {
  readonly key: string;
  readonly allowed: number;
  readonly seq: number;
  /** There is no more to be had: the others use the rest. */
  readonly final: boolean;
}

/** What a worker uses of one limit now, and what it would use. */
export interface Use {
  readonly key: string;
  /** Server connections open or being opened; clients admitted. Until it is told a higher number, it takes none beyond `allowed`. */
  readonly held: number;
  readonly want: number;
  /** Of the last `Allowed` that it had acted on. */
  readonly seq: number;
  readonly reason: 'short' | 'polled' | 'fewer';
}

export interface WorkerReport {
  readonly counters: Counters;
  /** By cluster: what has been counted since the report before. */
  readonly statements: ReadonlyMap<string, StatementsPart>;
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

/** Asked by the supervisor. */
export type WorkerCall =
  /** Answered with a WorkerReport. */
  | { readonly kind: 'report' }
  | { readonly kind: 'sync' }
  | { readonly kind: 'drain' }
  /** Answered with an ExplainReport or Unanswerable. */
  | { readonly kind: 'explain'; readonly request: ExplainRequest }
  /** Answered with a SessionsReport. */
  | { readonly kind: 'sessions'; readonly request: SessionsRequest }
  | { readonly kind: 'peer'; readonly cluster: string; readonly request: PeerRequest };

/** Asked by a worker. Times are the machine's. */
export type SupervisorCall =
  /** A position of the primary that is asked for after that time: answered with its text. */
  | { readonly kind: 'position'; readonly cluster: string; readonly afterMs: number }
  /** What the keys have been let see, by other workers: answered with one KeyAnswer for each. */
  | { readonly kind: 'keys-read'; readonly cluster: string; readonly keys: readonly string[] }
  /** Answered once all that ask later are told of it. */
  | {
      readonly kind: 'keys-written';
      readonly cluster: string;
      readonly positions: readonly (readonly [key: string, position: SharedPosition])[];
    }
  | { readonly kind: 'verifier'; readonly cluster: string; readonly user: string }
  | {
      readonly kind: 'standing';
      readonly cluster: string;
      readonly user: string;
      readonly database: string;
      readonly maxAgeMs: number;
    }
  | {
      readonly kind: 'peer';
      readonly cluster: string;
      readonly index: number;
      readonly request: PeerRequest;
    };

/** Null: the key is not known. */
export type KeyAnswer = readonly SharedPosition[] | null;

export type Answer =
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'refusal'; readonly id: number; readonly message: string };

export type ToWorker =
  | {
      readonly type: 'start';
      readonly config: Config;
      readonly index: number;
      readonly count: number;
      readonly snapshots: readonly WireSnapshot[];
      readonly shares: readonly Allowed[];
    }
  | { readonly type: 'snapshot'; readonly snapshot: WireSnapshot }
  | { readonly type: 'reload'; readonly config: Config }
  | { readonly type: 'share'; readonly share: Allowed }
  | { readonly type: 'share-poll'; readonly key: string }
  | { readonly type: 'schema-changed'; readonly cluster: string }
  /** A statement is refused while anybody is connected to it. */
  | { readonly type: 'leave-database'; readonly cluster: string; readonly database: string }
  | { readonly type: 'close' }
  | { readonly type: 'call'; readonly id: number; readonly call: WorkerCall }
  | Answer;

export type FromWorker =
  /** It listens to messages. */
  | { readonly type: 'hello' }
  | { readonly type: 'listening'; readonly listeners: readonly ListenerAddress[] }
  | { readonly type: 'failed'; readonly message: string }
  | {
      readonly type: 'node-failed';
      readonly cluster: string;
      readonly node: string;
      readonly message: string;
    }
  | { readonly type: 'schema-changed'; readonly cluster: string }
  /** A statement is refused while anybody is connected to it. */
  | { readonly type: 'leave-database'; readonly cluster: string; readonly database: string }
  | { readonly type: 'use'; readonly use: Use }
  | { readonly type: 'report'; readonly report: WorkerReport }
  | { readonly type: 'call'; readonly id: number; readonly call: SupervisorCall }
  | Answer;

export type VerifierAnswer = StoredVerifier | null;
