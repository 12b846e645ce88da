// What the proxy keeps of a user who has logged in, enough to log in to nodes as that user.
// Never logged, never in metrics or the API; types only.

export type Credential =
  | { readonly kind: 'password'; readonly password: string }
  /** SCRAM: ClientKey recovered from the client's own proof, ServerKey from the verifier (RFC 5802, section 3). */
  | { readonly kind: 'scram-keys'; readonly clientKey: Buffer; readonly serverKey: Buffer }
  /** "md5" + 32 hex digits, as pg_authid has it: enough to answer an MD5 challenge. */
  | { readonly kind: 'md5'; readonly hash: string }
  /** SHA1(password), recovered from a mysql_native_password scramble. */
  | { readonly kind: 'native-stage1'; readonly stage1: Buffer }
  /** Nothing is known; works where nodes trust the proxy's address. */
  | { readonly kind: 'none' };
