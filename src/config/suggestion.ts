// What somebody may have meant by a word that is not known. It knows no configuration.

/** `; did you mean "port"?`, or what there is to choose from. */
export function suggestion(word: string, known: readonly string[]): string {
  let nearest = '';
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(folded(word), folded(candidate));
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  if (nearest !== '') return `; did you mean "${nearest}"?`;
  return known.length === 0 ? '' : `; known keys: ${known.join(', ')}`;
}

/** max_waiting, max-waiting and MAXWAITING are all near to maxWaiting. */
function folded(word: string): string {
  return word.toLowerCase().replace(/[-_]/g, '').slice(0, 64);
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
