// Whether a named statement still gives the rows that its clients were told of when they prepared it. PostgreSQL refuses one that
// does not (0A000, RevalidateCachedQuery); one that the proxy parses again elsewhere would give others, which drivers that have
// kept the description read as what they know. It opens no socket.

import { monotonicMs } from '../lib/clock.js';
import type { ProxyError } from '../lib/errors.js';
import type { ServerError } from '../protocol/unit.js';
import { endsTransaction, isChained } from '../sql/statement.js';
import type { AutoPrepare } from './auto-prepare.js';
import { failTransaction } from './fail-transaction.js';
import { CONNECTION_LOST } from './lost-expectations.js';
import { type PreparedText, parseOf } from './prepared-statements.js';
import type { ReplyEvents, ReplySink, Run, Step } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { BatchUnit, PostgresUnit } from './unit.js';
import { buildDescribe, SYNC } from './wire/frontend.js';

/** Some drivers (asyncpg, pgjdbc) know it by the routine, and prepare again. */
const CHANGED: ServerError = {
  code: '0A000',
  message: 'cached plan must not change result type',
  routine: 'RevalidateCachedQuery',
};

const STILL_FAILED: ServerError = {
  code: '25P02',
  message: 'current transaction is aborted, commands ignored until end of transaction block',
};

/** Never told: the unit runs on the primary. */
const REPLAYING: ServerError = { code: '0A000', message: 'the replica may still come to a schema change' };

export interface RowsOptions {
  readonly onReplica: boolean;
  readonly withholdRetryable: boolean;
  readonly autoPrepare: Pick<AutoPrepare, 'isReplaying'>;
  readonly client: Pick<ReplyEvents, 'terminate'>;
}

/** Nothing has to be seen to on the server connection before it is written. */
export function isPlain(unit: PostgresUnit): boolean {
  return unit.begin === null && (unit.kind === 'simple' || unit.batch.unsure === null);
}

/**
 * Goes on to `start`; where a schema change may have changed the rows of what the unit binds and does not describe, once the server has said
 * of each, from number `from` on, that it did not.
 */
export function withKnownRows(
  unit: PostgresUnit,
  server: PostgresServerConnection,
  options: RowsOptions,
  start: () => void,
  refused: (error: ServerError) => void,
  from = 0,
): void {
  const text = unit.kind === 'batch' ? unit.batch.unsure?.[from]?.text : undefined;
  if (text === undefined) {
    start();
    return;
  }
  if (server.transaction === 'failed' && from === 0) {
    behindFailed(unit as BatchUnit, server, options, start, refused);
    return;
  }
  const goOn = (): void => withKnownRows(unit, server, options, start, refused, from + 1);
  if (text.isUnsure !== true) {
    goOn();
    return;
  }
  const { onReplica, withholdRetryable, autoPrepare } = options;
  if (onReplica && withholdRetryable && autoPrepare.isReplaying(monotonicMs())) {
    // It might come to the change between its answer and the unit.
    refused(REPLAYING);
    return;
  }
  describe(text, server, options.client, (now, error) => {
    // Outside a transaction the unit itself says all of it.
    if (error !== null && !server.closed && server.transaction === 'idle') start();
    else if (error !== null) refused(error);
    else if (now !== text.rows) failTransaction(server, () => refused(CHANGED));
    else {
      // A replica may not have come to the change.
      if (!onReplica || !autoPrepare.isReplaying(monotonicMs())) text.isUnsure = false;
      goOn();
    }
  });
}

/**
 * In a failed transaction the server looks at nothing but what ends it. Where the batch begins with that, the transaction ends
 * sooner, and another one fails in its place, so that the batch finds what its client knows of.
 */
function behindFailed(
  unit: BatchUnit,
  server: PostgresServerConnection,
  options: RowsOptions,
  start: () => void,
  refused: (error: ServerError) => void,
): void {
  const { executed, classified } = unit.batch;
  const first = classified[0];
  if (first === undefined || !endsTransaction(first.statement)) {
    // The server refuses it, wherever in it that is.
    start();
    return;
  }
  const goesOn = first.statement.transaction!.kind === 'rollback-to' || isChained(first.statement);
  if (goesOn || executed[0] !== first) {
    // What it goes on with is not to be had again.
    refused(STILL_FAILED);
    return;
  }
  const fails = (then: () => void): void =>
    server.own('BEGIN', (error) => {
      if (error !== null) refused(error);
      else
        failTransaction(server, (failure) => (failure.code === CONNECTION_LOST ? refused(failure) : then()));
    });
  server.own('ROLLBACK', (error) => {
    if (error !== null) refused(error);
    else
      withKnownRows(
        unit,
        server,
        options,
        () => fails(start),
        (why) => (why.code === CONNECTION_LOST ? refused(why) : fails(() => refused(why))),
      );
  });
}

function describe(
  { body, types }: PreparedText,
  server: PostgresServerConnection,
  client: RowsOptions['client'],
  done: (rows: string | undefined, error: ServerError | null) => void,
): void {
  const text: PreparedText = { serverName: '', body };
  const messages = [parseOf(text, '', types), buildDescribe('statement', ''), SYNC];
  const steps = [dropped('parse', text), dropped('describe-statement', text)];
  server.unnamed = null;
  const run: Run = {
    ...{
      sink: unseenBy(client),
      steps,
      withhold: false,
      onReplica: false,
      beginLength: 0,
      isBehindBegin: false,
    },
    ...{ isShared: false, maxGroup: 1, gate: null, isSimple: false, isStandIn: false, isOpen: false },
    ...{ options: { late: null }, healUntil: -1, heal: () => {}, serviceMs: 0 },
    done: (outcome) => {
      if (outcome.kind === 'answered') done(text.rows, outcome.error);
      else done(undefined, { code: CONNECTION_LOST, message: outcome.kind === 'lost' ? outcome.reason : '' });
    },
  };
  server.run(run, messages);
}

function dropped(kind: Step['kind'], text: PreparedText): Step {
  return { kind, verb: 'drop', text, completed: null, alias: null, failed: null };
}

function unseenBy(client: RowsOptions['client']): ReplySink {
  const terminate = (error: ProxyError): void => client.terminate(error);
  return {
    events: { messageCut() {}, copyInStarted() {}, deallocated() {}, terminate },
    processId: 0,
    write: () => true,
    writeAll: () => true,
    isWritten: true,
    tellParameters() {},
    tellParameter() {},
  };
}
