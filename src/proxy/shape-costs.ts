// What a call of one shape has cost so far: whether it may make others wait behind it on a shared server connection.
// It keeps nothing itself: the numbers stand on the shape's record; a shape that is not known is run by itself first.

import type { StatementRecord } from '../telemetry/statements.js';

/** A larger measurement counts so much, a smaller one wholly. */
const WEIGHT = 0.05;
const MAX_REPLY_BYTES = 65_536;

export function isLight(record: StatementRecord | null, maxServiceMs: number): record is StatementRecord {
  if (record === null || record.costMs < 0) return false;
  return record.costMs <= maxServiceMs && record.costBytes <= MAX_REPLY_BYTES;
}

export function learnCost(record: StatementRecord, serviceMs: number, replyBytes: number): void {
  if (record.costMs < 0) {
    record.costMs = serviceMs;
    record.costBytes = replyBytes;
    return;
  }
  // Near the least that was measured lately: on a busy machine anything takes long now and then.
  record.costMs = Math.min(serviceMs, record.costMs + (serviceMs - record.costMs) * WEIGHT);
  // One large reply is enough to know that they come.
  record.costBytes = Math.max(replyBytes, record.costBytes + (replyBytes - record.costBytes) * WEIGHT);
}
