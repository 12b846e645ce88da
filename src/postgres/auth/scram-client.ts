// The client's side of one SCRAM-SHA-256 exchange, with a password or with the keys alone.
// It must not know the messages of PostgreSQL around the exchange.
//
// With keys, the salt and the iterations of the server's message say nothing: they were used when the keys were made.
// The server holds the same verifier if and only if its StoredKey is H(ClientKey) and its ServerKey is ours; the first
// is for the server to check, the second is checked here.

import { malformed } from '../wire/bytes.js';
import {
  decodeBase64,
  deriveScramKeys,
  equalBytes,
  hmac,
  messageText,
  SCRAM_ITERATIONS_MAX,
  type ScramKeys,
  scramNonce,
  sha256,
  takeAttribute,
  xor,
} from './scram.js';

export type DeriveKeys = (password: string, salt: Buffer, iterations: number) => ScramKeys;

export type ScramSecret =
  | { readonly kind: 'password'; readonly password: string; readonly derive?: DeriveKeys }
  | { readonly kind: 'scram-keys'; readonly clientKey: Buffer; readonly serverKey: Buffer };

type State = 'start' | 'server-first' | 'server-final' | 'ended';

/** "n": this side has no channel binding. */
const GS2_HEADER = 'n,,';

export class ScramClient {
  #state: State = 'start';
  readonly #secret: ScramSecret;
  readonly #clientNonce: string;
  readonly #clientFirstBare: string;
  #serverSignature: Buffer | null = null;

  /** PostgreSQL ignores the user here and takes the one of the startup packet. */
  constructor(secret: ScramSecret, options: { readonly clientNonce?: string; readonly user?: string } = {}) {
    this.#secret = secret;
    this.#clientNonce = options.clientNonce ?? scramNonce();
    this.#clientFirstBare = `n=${options.user ?? ''},r=${this.#clientNonce}`;
  }

  first(): string {
    this.#expect('start', 'server-first');
    return GS2_HEADER + this.#clientFirstBare;
  }

  /** Answers client-final-message. */
  final(serverFirst: Buffer): string {
    this.#expect('server-first', 'server-final');
    const text = messageText(serverFirst);
    const nonce = takeAttribute(text, 'r');
    const saltText = takeAttribute(nonce.rest, 's');
    const iterationsText = takeAttribute(saltText.rest, 'i');
    // RFC 5802, section 5.1: the server's nonce begins with ours and adds to it.
    if (!nonce.value.startsWith(this.#clientNonce) || nonce.value.length === this.#clientNonce.length) {
      throw malformed("SCRAM nonce that does not continue the client's");
    }
    const salt = decodeBase64(saltText.value);
    if (salt === null || salt.length === 0) throw malformed('SCRAM message with a bad salt');
    if (!/^[1-9]\d{0,9}$/.test(iterationsText.value))
      throw malformed('SCRAM message with a bad iteration count');
    const keys = this.#keys(salt, Number(iterationsText.value));

    const withoutProof = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${nonce.value}`;
    const authMessage = `${this.#clientFirstBare},${text},${withoutProof}`;
    const proof = xor(keys.clientKey, hmac(sha256(keys.clientKey), authMessage));
    this.#serverSignature = hmac(keys.serverKey, authMessage);
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** False when the server does not know the ServerKey: it is not the server that it claims to be. */
  verify(serverFinal: Buffer): boolean {
    this.#expect('server-final', 'ended');
    const text = messageText(serverFinal);
    if (text.startsWith('e=')) return false;
    const signature = decodeBase64(takeAttribute(text, 'v').value);
    return (
      signature !== null && this.#serverSignature !== null && equalBytes(signature, this.#serverSignature)
    );
  }

  #keys(salt: Buffer, iterations: number): ScramKeys {
    if (this.#secret.kind === 'scram-keys') return this.#secret;
    if (iterations > SCRAM_ITERATIONS_MAX) throw malformed(`SCRAM with ${iterations} iterations`);
    return (this.#secret.derive ?? deriveScramKeys)(this.#secret.password, salt, iterations);
  }

  #expect(state: State, next: State): void {
    if (this.#state !== state) throw malformed('SCRAM message out of turn');
    this.#state = next;
  }
}
