// COM_CHANGE_USER: a client that is logged in proves anew who it is; what it had on its server connection goes, and it is
// logged in again. It does not know what else the client connection does meanwhile.

import { asProxyError, type ProxyError } from '../lib/errors.js';
import type { SessionHost } from '../protocol/client-connection.js';
import { type ProofStep, proofForChangeUser, type UserProof } from './auth/client-login.js';
import { loginOk } from './client-startup.js';
import type { CommandContext } from './commands.js';
import type { MysqlServerConnection } from './server-connection.js';
import { commandClass, MysqlUnit } from './unit.js';
import { variantText } from './variant.js';
import { keyedCapabilities } from './wire/capabilities.js';
import { buildCommand, type ChangeUser, COM } from './wire/command.js';
import { payloadOf } from './wire/framer.js';

/** The client connection, as its change of user sees it. */
export interface ChangingClient extends CommandContext {
  /** False: it is closed, or does something else by now. */
  readonly isChanging: boolean;
  write(bytes: Buffer): void;
  /** Runs it; then, if the client is still there, `cleared` is called. */
  clear(unit: MysqlUnit, cleared: () => void): void;
  /** It reads commands again. */
  changed(): void;
  /** Ends it, with this error as what the client reads next. */
  terminateAt(error: ProxyError, sequence: number): void;
}

type Proved = ProofStep & { readonly kind: 'done' };

const RESET_FRAME = buildCommand(COM.RESET_CONNECTION);

export class UserChange {
  readonly #client: ChangingClient;
  readonly #host: SessionHost;
  readonly #change: ChangeUser;
  readonly #proof: UserProof;

  constructor(client: ChangingClient, host: SessionHost, change: ChangeUser) {
    this.#client = client;
    this.#host = host;
    this.#change = change;
    const context = client.runtime.loginContext(host, client.settings);
    const { capabilities, challenge } = client.session;
    this.#proof = proofForChangeUser(change, capabilities, Buffer.from(challenge, 'latin1'), context);
    this.#follow(this.#proof.start('', null));
  }

  /** A packet of its proof. */
  receive(frame: Buffer): void {
    this.#follow(this.#proof.receive(Buffer.from(payloadOf(frame)), frame[3]!));
  }

  #follow(step: Promise<ProofStep>): void {
    step
      .then((next) => {
        if (!this.#client.isChanging) return;
        if (next.bytes !== null) this.#client.write(next.bytes);
        if (next.kind === 'done') this.#onProved(next);
      })
      .catch((cause: unknown) =>
        this.#client.terminateAt(asProxyError(cause, this.#client.runtime.bug), this.#proof.sequence),
      );
  }

  #onProved(step: Proved): void {
    if (this.#host.server === null) {
      this.#client.session.forget();
      this.#logIn(step);
      return;
    }
    // What the former user left there goes with him.
    const unit = new MysqlUnit('clear', 'results', commandClass('primary', 'RESET'), RESET_FRAME);
    this.#client.clear(unit, () => this.#logIn(step));
  }

  #logIn({ credential, sequence }: Proved): void {
    const { session } = this.#client;
    const { user, attributes } = this.#change;
    const collation = this.#change.collation ?? session.collation;
    const database = this.#change.database ?? '';
    const variant = variantText({ keyed: keyedCapabilities(session.capabilities), collation });
    const request = { key: { user, database, variant }, credential, applicationName: '', attributes };
    this.#host.login(request, (loan, error) => {
      if (!this.#client.isChanging) {
        loan?.release();
        return;
      }
      if (loan === null) {
        this.#client.terminateAt(error!, sequence);
        return;
      }
      session.loginValues = (loan.server as MysqlServerConnection).loginValues;
      loan.release();
      session.user = user;
      session.collation = collation;
      session.loginDatabase = database;
      this.#client.write(loginOk(session.status, database, session.capabilities, sequence));
      this.#client.changed();
    });
  }
}
