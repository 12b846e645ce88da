// Medians and percentiles; it knows nothing of what they are of.

/** Not a number for no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The smallest value that at least `share` (0 to 1) of the values do not exceed. */
export function percentile(sorted: Float64Array, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** Of a histogram: `[value, count]`, ascending. */
export function histogramPercentile(
  histogram: readonly (readonly [value: number, count: number])[],
  share: number,
): number {
  const rank = Math.max(1, Math.ceil(share * histogram.reduce((sum, [, count]) => sum + count, 0)));
  let seen = 0;
  for (const [value, count] of histogram) {
    seen += count;
    if (seen >= rank) return value;
  }
  return Number.NaN;
}
