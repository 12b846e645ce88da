// Hashes and scrambles against values computed elsewhere.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { checkSha2Scramble, sha2Scramble, sha2Stage2 } from '../../../src/mysql/auth/caching-sha2.js';
import { newChallenge } from '../../../src/mysql/auth/challenge.js';
import {
  checkNativeScramble,
  nativeScramble,
  nativeStage1,
  nativeVerifier,
} from '../../../src/mysql/auth/native-password.js';
import {
  checkSha256Crypt,
  parseSha256CryptVerifier,
  sha256Crypt,
} from '../../../src/mysql/auth/sha256-crypt.js';

describe('mysql_native_password', () => {
  it("stores what MySQL's PASSWORD() stored", () => {
    assert.equal(nativeVerifier('password'), '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19');
    assert.equal(nativeVerifier('mypass'), '*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4');
    assert.equal(nativeVerifier(''), '');
  });

  it('recovers SHA1(password) from a right answer only', () => {
    const challenge = newChallenge();
    const answer = nativeScramble(nativeStage1('secret'), challenge);
    assert.deepEqual(
      checkNativeScramble(answer, challenge, nativeVerifier('secret')),
      nativeStage1('secret'),
    );
    assert.equal(checkNativeScramble(answer, challenge, nativeVerifier('other')), null);
    assert.equal(checkNativeScramble(answer, newChallenge(), nativeVerifier('secret')), null);
    assert.equal(checkNativeScramble(Buffer.alloc(0), challenge, nativeVerifier('secret')), null);
    assert.equal(checkNativeScramble(answer, challenge, ''), null);
    assert.equal(checkNativeScramble(answer, challenge, 'not a hash'), null);
  });
});

describe('caching_sha2_password', () => {
  it('scrambles as documented: XOR(SHA256(p), SHA256(SHA256(SHA256(p)), challenge))', () => {
    const sha = (...parts: Buffer[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
    const challenge = newChallenge();
    const p = sha(Buffer.from('secret'));
    const mask = sha(sha(p), challenge);
    const expected = Buffer.from(p.map((byte, i) => byte ^ mask[i]!));
    const answer = sha2Scramble('secret', challenge);
    assert.deepEqual(answer, expected);
    assert.ok(checkSha2Scramble(answer, challenge, sha2Stage2('secret')));
    assert.ok(!checkSha2Scramble(answer, challenge, sha2Stage2('Secret')));
    assert.ok(!checkSha2Scramble(answer.subarray(1), challenge, sha2Stage2('secret')));
  });

  it('has the SHA-256-crypt of the specification', async () => {
    const digest = await sha256Crypt(Buffer.from('Hello world!'), Buffer.from('saltstring'), 5000);
    assert.equal(digest, '5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5');
    // openssl passwd -5 -salt ...
    const long = 'a very much longer text to encrypt.  This one even stretches over morethan one line.';
    assert.equal(
      await sha256Crypt(Buffer.from(long), Buffer.from('anotherlongsalts'), 5000),
      'xDOFsdwNAstVE3491M3cBSSbHS4ksOOPoR7XlHBf4G1',
    );
    assert.equal(
      await sha256Crypt(Buffer.from('p'), Buffer.from('abcdefghijklmnop'), 5000),
      'vXD05DVGsK2vFfQO5gPt/XoC/3B1OT5IFp4hcYy6Lz4',
    );
  });

  it('reads verifiers with any salt, and nothing else', async () => {
    const salt = Buffer.from(Array.from({ length: 20 }, (_, i) => i + 1));
    const digest = await sha256Crypt(Buffer.from('x'), salt, 5000);
    const verifier = parseSha256CryptVerifier(`$A$005$${salt.toString('latin1')}${digest}`);
    assert.equal(verifier?.rounds, 5000);
    assert.ok(await checkSha256Crypt(Buffer.from('x'), verifier));
    assert.ok(!(await checkSha256Crypt(Buffer.from('y'), verifier)));
    for (const bad of ['', '*ABC', '$A$005$short', `$A$000$${'s'.repeat(20)}${digest}`])
      assert.equal(parseSha256CryptVerifier(bad), null);
  });

  it('challenges have no zero and no dollar', () => {
    for (let i = 0; i < 500; i++) assert.ok(newChallenge().every((b) => b !== 0 && b !== 0x24 && b < 0x80));
  });
});
