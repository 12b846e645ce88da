// The server's side of one SCRAM-SHA-256 exchange: checks the proof and recovers the key with which it was made.
// It must not know where the verifier comes from, nor the messages of PostgreSQL around the exchange.

import { malformed } from '../wire/bytes.js';
import {
  decodeBase64,
  equalBytes,
  hmac,
  isNonce,
  messageText,
  SCRAM_KEY_BYTES,
  type ScramKeys,
  type ScramVerifier,
  scramNonce,
  sha256,
  takeAttribute,
  xor,
} from './scram.js';

export interface ScramServerResult {
  /** Null: the proof is wrong. */
  readonly keys: ScramKeys | null;
  readonly serverFinal: string;
}

type State = 'client-first' | 'client-final' | 'ended';

export class ScramServer {
  #state: State = 'client-first';
  readonly #verifier: ScramVerifier;
  readonly #doomed: boolean;
  readonly #serverNonce: string;
  #gs2Header = '';
  #clientFirstBare = '';
  #serverFirst = '';
  #nonce = '';

  /** `doomed`: goes through every step and fails at the end, for users that do not exist (mock authentication). */
  constructor(
    verifier: ScramVerifier,
    options: { readonly doomed?: boolean; readonly serverNonce?: string } = {},
  ) {
    this.#verifier = verifier;
    this.#doomed = options.doomed ?? false;
    this.#serverNonce = options.serverNonce ?? scramNonce();
  }

  /** Answers server-first-message. */
  first(clientFirst: Buffer): string {
    this.#expect('client-first', 'client-final');
    const text = messageText(clientFirst);
    // gs2-header: "n" no channel binding, "y" the client could and believes that we cannot, "p=..." it insists.
    const flag = text[0];
    if (flag === 'p') throw malformed('SCRAM with channel binding, which was not offered');
    if ((flag !== 'n' && flag !== 'y') || text[1] !== ',')
      throw malformed('SCRAM message without a channel binding flag');
    // An authorization identity ("a=...") is not supported, as in PostgreSQL.
    if (text[2] !== ',') throw malformed('SCRAM message with an authorization identity');
    this.#gs2Header = text.slice(0, 3);
    this.#clientFirstBare = text.slice(3);
    // "m=" would be a mandatory extension. The user name is the one of the startup packet; this one is ignored.
    const user = takeAttribute(this.#clientFirstBare, 'n');
    const nonce = takeAttribute(user.rest, 'r');
    if (!isNonce(nonce.value)) throw malformed('SCRAM message with a bad nonce');
    this.#nonce = nonce.value + this.#serverNonce;
    this.#serverFirst = `r=${this.#nonce},s=${this.#verifier.salt.toString('base64')},i=${this.#verifier.iterations}`;
    return this.#serverFirst;
  }

  /** Checks the proof. */
  final(clientFinal: Buffer): ScramServerResult {
    this.#expect('client-final', 'ended');
    const text = messageText(clientFinal);
    const binding = takeAttribute(text, 'c');
    const nonce = takeAttribute(binding.rest, 'r');
    // Extensions may stand between the nonce and the proof, which is last.
    const proofAt = text.lastIndexOf(',p=');
    if (proofAt < 0) throw malformed('SCRAM message without a proof');
    const proof = decodeBase64(text.slice(proofAt + 3));
    if (proof?.length !== SCRAM_KEY_BYTES) throw malformed('SCRAM message with a bad proof');
    // RFC 5802, section 7: the header is repeated here, so that nobody can have changed the flag on the way.
    if (binding.value !== Buffer.from(this.#gs2Header).toString('base64')) {
      throw malformed('SCRAM message with another channel binding than before');
    }
    if (!equalBytes(Buffer.from(nonce.value), Buffer.from(this.#nonce)))
      throw malformed('SCRAM message with another nonce');

    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${text.slice(0, proofAt)}`;
    // ClientProof = ClientKey XOR HMAC(StoredKey, AuthMessage), and StoredKey = H(ClientKey).
    const clientKey = xor(proof, hmac(this.#verifier.storedKey, authMessage));
    const proven = equalBytes(sha256(clientKey), this.#verifier.storedKey);
    const signature = hmac(this.#verifier.serverKey, authMessage);
    return {
      keys: proven && !this.#doomed ? { clientKey, serverKey: this.#verifier.serverKey } : null,
      serverFinal: `v=${signature.toString('base64')}`,
    };
  }

  #expect(state: State, next: State): void {
    if (this.#state !== state) throw malformed('SCRAM message out of turn');
    this.#state = next;
  }
}
