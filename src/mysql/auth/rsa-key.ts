// The proxy's own RSA pair, with which applications without TLS send their password once; made when first needed.
// It knows no user and no packet.

import { constants, generateKeyPair, type KeyObject, privateDecrypt } from 'node:crypto';
import { promisify } from 'node:util';

const MODULUS_BITS = 2048;

export class RsaKey {
  #pair: Promise<{ privateKey: KeyObject; publicPem: string }> | null = null;

  #get(): Promise<{ privateKey: KeyObject; publicPem: string }> {
    this.#pair ??= promisify(generateKeyPair)('rsa', { modulusLength: MODULUS_BITS }).then(
      ({ publicKey, privateKey }) => ({
        privateKey,
        publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      }),
    );
    return this.#pair;
  }

  async publicPem(): Promise<string> {
    return (await this.#get()).publicPem;
  }

  /** Null for what was not encrypted with the public key. */
  async decrypt(data: Buffer): Promise<Buffer | null> {
    const { privateKey } = await this.#get();
    try {
      return privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING }, data);
    } catch {
      return null;
    }
  }
}
