// Draws a report as bars in an SVG file: a group for each mode and number of clients, a bar for each subject.

import type { SubjectName } from './scenarios.js';

export interface Bar {
  readonly group: string;
  readonly subject: SubjectName;
  /** Null: nothing that could be drawn; the label says why. */
  readonly value: number | null;
}

const COLORS: Record<SubjectName, string> = {
  direct: '#8a8f98',
  scheelite: '#d9480f',
  'scheelite-eventual': '#f08c00',
  'scheelite-auto': '#c2255c',
  pgbouncer: '#1971c2',
  haproxy: '#2f9e44',
  pgpool: '#9c36b5',
  mysqlrouter: '#0c8599',
  'node-relay': '#5c940d',
};

const LEFT = 250;
const WIDTH = 520;
const BAR = 18;
const GAP = 14;
const TOP = 56;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

export function chart(title: string, unit: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map((bar) => bar.value ?? 0), 1);
  const parts: string[] = [];
  let y = TOP;
  let group = '';
  for (const bar of bars) {
    if (bar.group !== group) {
      if (group !== '') y += GAP;
      group = bar.group;
      parts.push(`<text x="8" y="${y + 13}" font-weight="bold">${escaped(group)}</text>`);
    }
    const width = Math.round(((bar.value ?? 0) / most) * WIDTH);
    const label = bar.value === null ? 'failed' : Math.round(bar.value).toLocaleString('en-US');
    parts.push(
      `<text x="${LEFT - 6}" y="${y + 13}" text-anchor="end">${bar.subject}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${width}" height="${BAR - 3}" fill="${COLORS[bar.subject]}"/>`,
      `<text x="${LEFT + width + 5}" y="${y + 13}">${label}</text>`,
    );
    y += BAR;
  }
  const height = y + 12;
  const width = LEFT + WIDTH + 80;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="8" y="22" font-size="15" font-weight="bold">${escaped(title)}</text>
<text x="8" y="40" fill="#555">${escaped(unit)}</text>
${parts.join('\n')}
</svg>
`;
}
