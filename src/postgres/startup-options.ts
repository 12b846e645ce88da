// The `options` of a startup packet: command-line switches of the server, of which run-time settings are taken.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';

/**
 * `-c name=value`, `-cname=value` and `--name=value`; a backslash keeps the white space or backslash behind it
 * (libpq, "options"). Names are lower case with underscores. Throws ProxyError on any other switch.
 */
export function parseStartupOptions(options: string): Map<string, string> {
  const settings = new Map<string, string>();
  const words = splitWords(options);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    let assignment: string | undefined;
    if (word === '-c') assignment = words[++i];
    else if (word.startsWith('-c')) assignment = word.slice(2);
    else if (word.startsWith('--')) assignment = word.slice(2);
    const equals = assignment?.indexOf('=') ?? -1;
    if (assignment === undefined || equals <= 0)
      throw new ProxyError('unsupported-feature', { feature: `the startup option "${word}"` });
    const name = assignment.slice(0, equals).toLowerCase().replaceAll('-', '_');
    settings.set(name, assignment.slice(equals + 1));
  }
  return settings;
}

function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (character === '\\' && i + 1 < text.length) {
      word = (word ?? '') + text[++i]!;
    } else if (/\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (word !== null) words.push(word);
  return words;
}
