// What a node sends on a server connection, packet by packet: each is the run's at the head of the queue, passed on, built anew or
// kept back; and what it tells of the session. It writes nothing to the node, and does not know who the clients are.

import type { AnswerEnd } from './answer-end.js';
import type { Established } from './established.js';
import { changedRowsOf, type Expectation, insertIdOf } from './expectation.js';
import type { ExpectationQueue } from './expectation-queue.js';
import type { Forwarding } from './forwarding.js';
import { asPrimarySays, ER_QUERY_INTERRUPTED, retryOf } from './replica-errors.js';
import type { MysqlServerConnection } from './server-connection.js';
import { learnChanges, settleDatabase } from './state-changes.js';
import { malformed } from './wire/bytes.js';
import { CAPABILITY, hasCapability } from './wire/capabilities.js';
import { type PacketFramer, payloadOf } from './wire/framer.js';
import { buildOk, ERR_BYTE, type ErrPacket, type OkPacket, parseErr, STATUS, withStatus } from './wire/ok.js';
import { buildPrepareOk } from './wire/result-set.js';
import { buildSessionChanges, parseSessionChanges } from './wire/session-track.js';

type Server = Pick<
  MysqlServerConnection,
  | 'capabilities'
  | 'close'
  | 'closed'
  | 'evacuate'
  | 'hold'
  | 'isMariadb'
  | 'key'
  | 'loginValues'
  | 'state'
  | 'tainted'
>;

export class Replies {
  /** Flags of the last OK or EOF. */
  status: number;
  /** An error that came unasked: why the node closes. */
  farewell: string | null = null;
  /** The chunk that was read last had nothing else, or has had so far. */
  isRowsOnly = false;
  readonly #server: Server;
  readonly #framer: PacketFramer;
  readonly #queue: ExpectationQueue;
  readonly #forwarding: Forwarding;
  readonly #answerEnd: AnswerEnd;

  constructor(
    server: Server,
    { framer, status }: Established,
    queue: ExpectationQueue,
    forwarding: Forwarding,
    answerEnd: AnswerEnd,
  ) {
    this.status = status;
    this.#server = server;
    this.#framer = framer;
    this.#queue = queue;
    this.#forwarding = forwarding;
    this.#answerEnd = answerEnd;
  }

  /** True: it was rows only, and all of them have been written. Throws what the framer cannot go on from. */
  read(chunk: Buffer): boolean {
    this.isRowsOnly = true;
    this.#framer.push(chunk);
    this.#readPackets();
    const sink = this.#queue.head?.visibleRun?.sink;
    return this.isRowsOnly && this.#framer.waitingBytes === 0 && sink?.isWritten === true;
  }

  #readPackets(): void {
    while (this.#framer.next() === 'ready') {
      this.#onPacket();
      if (this.#server.closed) return;
    }
    if (this.#framer.failure !== null) throw this.#framer.failure;
    const { head } = this.#queue;
    if (head !== undefined) this.#forwarding.flush(head);
  }

  #onPacket(): void {
    const { head } = this.#queue;
    const { firstByte, length } = this.#framer;
    const isPlain = head !== undefined && head.rows === null && !head.reply.wants(firstByte, length);
    if (!isPlain || !head.reply.isAtRows) this.isRowsOnly = false;
    if (head === undefined) {
      this.#unasked();
      return;
    }
    if (isPlain) {
      head.reply.passed();
      if (head.visibleRun !== null) this.#forwarding.pass(head.visibleRun, head.reply);
      else this.#forwarding.drop();
      if (head.reply.isDone) this.#answerEnd.finish(head);
      return;
    }
    if (head.rows === null && this.#glance(head)) return;
    const peeked = this.#framer.peek();
    const frame = peeked ?? this.#framer.take();
    if (frame === null) return;
    if (head.rows !== null && !head.reply.wants(firstByte, length)) {
      if (head.reply.isAtRows) head.rows.push(Buffer.from(payloadOf(frame)));
      head.reply.passed();
      if (peeked !== null) this.#forwarding.drop();
      return;
    }
    this.#onWhole(head, frame, peeked !== null);
    if (head.reply.isDone) this.#answerEnd.finish(head);
  }

  /** True: it was a plain packet, and has gone on. */
  #glance(head: Expectation): boolean {
    const { wholeAt, chunk, length } = this.#framer;
    const status = wholeAt < 0 ? -1 : head.reply.glance(chunk, wholeAt, length, this.status);
    if (status < 0) return false;
    head.sees(this.status);
    this.status = status;
    if (head.run !== null) head.run.status = status;
    if (head.visibleRun !== null) this.#forwarding.pass(head.visibleRun, head.reply);
    else this.#forwarding.drop();
    if (head.reply.isDone) this.#answerEnd.finish(head);
    return true;
  }

  /** A packet that has to be looked at. `peeked`: it still waits in the framer. */
  #onWhole(head: Expectation, frame: Buffer, peeked: boolean): void {
    const wasAtFirst = head.reply.isAtFirst;
    head.sees(this.status);
    const event = head.reply.see(payloadOf(frame));
    const { run } = head;
    const visible = head.visibleRun;
    let forward: Buffer | null = frame;
    switch (event.kind) {
      case 'ok':
        forward = this.#onOk(head, event.ok, frame);
        break;
      case 'eof':
        this.status = event.status & ~STATUS.SESSION_STATE_CHANGED;
        if (run !== null) run.status = this.status;
        if (this.status === event.status) break;
        head.owesChanges = true;
        forward = withStatus(frame, this.status);
        break;
      case 'err':
        if (this.#onErr(head, event.err, wasAtFirst)) forward = null;
        else if (run !== null)
          forward = asPrimarySays(event.err, run, frame, this.status, this.#server.isMariadb);
        break;
      case 'prepared':
        head.prepared = event.prepared;
        if (run?.text != null) {
          const held = this.#server.hold(run.text, event.prepared);
          const statementId = visible?.prepared(event.prepared) ?? held.id;
          forward = buildPrepareOk({ ...event.prepared, statementId }, this.#server.capabilities, frame[3]!);
        }
        break;
    }
    if (visible === null || forward === null) {
      if (peeked) this.#forwarding.drop();
    } else if (forward === frame && peeked) {
      this.#forwarding.pass(visible, head.reply);
    } else {
      this.#forwarding.replace(head, forward, peeked);
      visible.sequence = (frame[3]! + 1) & 0xff;
    }
    if (event.kind === 'infile' && visible !== null) {
      this.#forwarding.flush(head);
      visible.sink.infileRequested();
    }
  }

  /** What the client gets: the frame as it came, or one built anew. */
  #onOk(head: Expectation, ok: OkPacket, frame: Buffer): Buffer {
    this.status = ok.status;
    const { run } = head;
    if (run !== null) {
      run.status = ok.status;
      const insertId = insertIdOf(ok.counts);
      if (insertId !== null) run.insertId = insertId;
      head.changedRows += changedRowsOf(ok.counts);
    }
    const tracks = run !== null && hasCapability(run.capabilities, CAPABILITY.SESSION_TRACK);
    const changer = run ?? head.learnsFor;
    if (ok.changes === null || changer === null) return frame;
    const changes = parseSessionChanges(ok.changes);
    const server = this.#server;
    const before = server.state;
    const learnt = learnChanges(changes, before, server.loginValues, server.key.database, changer);
    server.state = learnt.state;
    if (run?.isShared !== true) [server.key, server.state] = settleDatabase(server.key, server.state);
    head.position = learnt.position ?? head.position;
    if (learnt.asksCollation) head.asksCollation = true;
    if (learnt.isUnnamed) changer.unnamedChange = true;
    if (run === null) return frame;
    if (run.isShared && (run.unnamedChange || server.state.digest !== before.digest)) {
      // A read that was no read: whoever is queued here with the state of before goes, and nobody else comes.
      server.tainted = true;
      server.evacuate();
    }
    const seen = tracks ? changes.filter((change) => run.sink.sees(change)) : [];
    if (tracks && seen.length === changes.length) return frame;
    const kept = seen.length === 0 ? null : buildSessionChanges(seen);
    return buildOk({ ...ok, changes: kept }, run.capabilities, frame[3]!);
  }

  /** True: the client does not get it. */
  #onErr(head: Expectation, err: ErrPacket, wasAtFirst: boolean): boolean {
    head.error = { code: String(err.errno), message: err.message, sqlState: err.sqlState };
    const { run } = head;
    if (run === null) return false;
    // Earlier results in the same chunk have passed, and are the client's.
    this.#forwarding.flush(head);
    if (!run.withhold || head.forwarded || head.muted || !wasAtFirst) return false;
    if (err.errno === ER_QUERY_INTERRUPTED && run.cancelled) return false;
    const retryOn = retryOf(err.errno);
    // The primary's own errors are the client's; but what ends a neighbour may hit it on a shared connection.
    if (run.onReplica || (run.isShared && retryOn === 'elsewhere')) head.withheld = retryOn;
    return head.withheld !== null;
  }

  #unasked(): void {
    const frame = this.#framer.take();
    if (frame === null) return;
    const payload = payloadOf(frame);
    if (payload[0] !== ERR_BYTE) throw malformed('a packet that nothing asked for');
    const { errno, message } = parseErr(payload);
    this.farewell = `${errno}: ${message}`;
    this.#server.close(this.farewell);
  }
}
