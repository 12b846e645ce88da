// Text for people: tables in columns, times and sizes in readable units. It knows nothing of what they mean.

/** Columns as wide as their widest cell; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], indent = ''): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      `${indent}${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
    )
    .join('\n');
}

/** Names and settings are a client's own words: a line stays a line, and a terminal stays as it is. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

export function durationText(ms: number | null): string {
  if (ms === null) return '?';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** "PostgreSQL 15.8 on x86_64-pc-linux-gnu, compiled by ..." is too long for a column. */
export function shortVersion(version: string | null): string {
  if (version === null) return '?';
  const mariadb = /(\d+\.\d+\.\d+)-MariaDB/i.exec(version)?.[1];
  if (mariadb !== undefined) return `MariaDB ${mariadb}`;
  return /\d+(?:\.\d+)+|\d+(?=\w*$)/.exec(version)?.[0] ?? version.slice(0, 20);
}
