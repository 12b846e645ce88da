// Reads the golden tables of MySQL and MariaDB and turns each row into the runs that it stands for; it judges nothing.

import { readdirSync, readFileSync } from 'node:fs';
import { buildMysqlCatalog, type MysqlCatalogRows } from '../../../src/sql/mysql/catalog.js';
import { createMysqlClassifier } from '../../../src/sql/mysql/classifier.js';
import type { Classified, Classifier, MysqlLexSettings } from '../../../src/sql/statement.js';

export interface GoldenCase {
  readonly comment: string;
  /** The row of the document (rows.json) that it shows. */
  readonly row?: string;
  readonly sql: string;
  /** Without a flavour the case holds for both. */
  readonly settings?: Partial<MysqlLexSettings>;
  /** Classified with the catalog of catalog.json; without it: before any catalog was read. */
  readonly catalog?: boolean;
  readonly overrides?: { readFunctions?: string[]; writeFunctions?: string[] };
  readonly route: string;
  readonly [field: string]: unknown;
}

const folder = new URL('../../../../test/golden/mysql/', import.meta.url);

export function goldenTables(): { name: string; cases: GoldenCase[] }[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json') && file !== 'catalog.json' && file !== 'rows.json')
    .map((file) => ({
      name: file.replace('.json', ''),
      cases: JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as GoldenCase[],
    }));
}

const versions = { mysql: 90_704, mariadb: 101_119 };

export function settingsOf(
  flavour: 'mysql' | 'mariadb',
  more: Partial<MysqlLexSettings> = {},
): MysqlLexSettings {
  return {
    flavour,
    versionNumber: versions[flavour],
    ansiQuotes: false,
    noBackslashEscapes: false,
    oracleMode: false,
    characterSet: 'utf8mb4',
    ...more,
  };
}

/** The settings under which the case holds. */
export function runsOf(golden: GoldenCase): MysqlLexSettings[] {
  const flavours =
    golden.settings?.flavour === undefined ? (['mysql', 'mariadb'] as const) : [golden.settings.flavour];
  return flavours.map((flavour) => settingsOf(flavour, golden.settings));
}

/** Tables hold text; outside of UTF-8 each character stands for one byte. */
export function bytesOf(golden: GoldenCase, settings: MysqlLexSettings): Buffer {
  return Buffer.from(golden.sql, settings.characterSet.startsWith('utf8') ? 'utf8' : 'latin1');
}

const rows = JSON.parse(readFileSync(new URL('catalog.json', folder), 'utf8')) as MysqlCatalogRows;
const shared = new Map<string, Classifier<MysqlLexSettings>>();

/** One classifier for all cases of the same surroundings, so that they meet in its caches as they would in production. */
export function classifyGolden(golden: GoldenCase, settings: MysqlLexSettings): Classified {
  const key = JSON.stringify([settings.flavour, golden.catalog ?? false, golden.overrides ?? null]);
  let classifier = shared.get(key);
  if (classifier === undefined) {
    const catalog = golden.catalog === true ? buildMysqlCatalog(rows, settings) : null;
    classifier = createMysqlClassifier({
      catalog: () => catalog,
      ...(golden.overrides === undefined ? {} : { overrides: golden.overrides }),
    });
    shared.set(key, classifier);
  }
  return classifier.classify(bytesOf(golden, settings), settings);
}
