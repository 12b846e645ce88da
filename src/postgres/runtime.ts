// What the clients of one PostgreSQL cluster share: cancel keys, prepared texts, and a classifier for each database.
// It knows no node and no session.

import type { Socket } from 'node:net';
import type { AutoPrepareConfig, RoutingConfig } from '../config/schema.js';
import { monotonicMs } from '../lib/clock.js';
import { digestOf } from '../lib/digest.js';
import type { ClientConnection, SessionHost } from '../protocol/client-connection.js';
import type { Inspection, InspectionContext } from '../protocol/inspection.js';
import type { NodeControl } from '../protocol/node-control.js';
import type {
  AutoPrepareStats,
  ListenerSettings,
  PeerRequest,
  ProtocolRuntime,
  RuntimeOptions,
} from '../protocol/protocol.js';
import type { Connect } from '../protocol/server-connection.js';
import {
  buildPostgresCatalog,
  type CatalogRow,
  digestQuery,
  keepsReadsApart,
  POSTGRES_CATALOG_QUERIES,
  type PostgresCatalog,
  type PostgresCatalogQuery,
  type PostgresCatalogRows,
} from '../sql/postgres/catalog.js';
import { createPostgresClassifier, type PostgresClassifying } from '../sql/postgres/classifier.js';
import { type ClassificationStats, noStats } from '../sql/statement.js';
import type { ReportBug } from '../telemetry/bug.js';
import type { Log } from '../telemetry/log.js';
import { AutoPrepare } from './auto-prepare.js';
import { CancelKeys } from './cancel-keys.js';
import { PostgresClientConnection } from './client-connection.js';
import { connectPostgres } from './connect.js';
import { isUnknownDatabase } from './control-connection.js';
import { AskedSequences } from './drawn-sequences.js';
import { foresee } from './foresight.js';
import { classifyText, inspectText } from './inspect.js';
import { Parameters } from './parameters.js';
import { PreparedTexts } from './prepared-statements.js';

/** One database's functions and views decide what its statements are. */
export interface DatabaseClassifier {
  catalog: PostgresCatalog | null;
  /** Of the rows that it was built from. */
  catalogDigest: string;
  /** What the server made of these rows, or of earlier ones; null: it has not been asked. */
  serverDigest: string | null;
  classifier: PostgresClassifying;
  /** Reads of several clients may be one transaction: as far as is known none shows in another one. */
  readsMayJoin: boolean;
  readonly asked: AskedSequences;
}

/** Beyond it the one that came first is forgotten: its clients keep it as one whose catalog is not known. */
const MAX_DATABASES = 1000;

export class PostgresRuntime implements ProtocolRuntime {
  readonly connect: Connect = (request) => connectPostgres(request, this.bug);
  readonly cancelKeys: CancelKeys;
  readonly texts = new PreparedTexts();
  readonly autoPrepare: AutoPrepare;
  readonly log: Log;
  readonly bug: ReportBug;
  serverVersion = '';
  readonly #options: RuntimeOptions;
  #routing: RoutingConfig;
  /** Counts changes of the schema. */
  #generation = 0;
  readonly #databases = new Map<string, DatabaseClassifier>();

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.log = options.log;
    this.bug = options.bug;
    this.cancelKeys = new CancelKeys(options.peers);
    this.#routing = options.routing;
    this.autoPrepare = new AutoPrepare(options.autoPrepare);
  }

  accept(socket: Socket, settings: ListenerSettings, host: (client: ClientConnection) => SessionHost): void {
    new PostgresClientConnection(socket, settings, this, host);
  }

  /** The clients of a database keep this object; the classifier in it may be replaced. */
  classifierOf(database: string): DatabaseClassifier {
    const known = this.#databases.get(database);
    if (known !== undefined) return known;
    let catalog: PostgresCatalog | null = null;
    const entry: DatabaseClassifier = {
      get catalog() {
        return catalog;
      },
      set catalog(next) {
        catalog = next;
      },
      catalogDigest: '',
      serverDigest: null,
      classifier: this.#createClassifier(() => catalog),
      readsMayJoin: false,
      asked: new AskedSequences(),
    };
    if (this.#databases.size >= MAX_DATABASES) this.#forget(this.#databases.keys().next().value!);
    this.#databases.set(database, entry);
    this.#options.catalogWanted();
    return entry;
  }

  forgetCatalog(): void {
    this.#generation++;
    this.autoPrepare.schemaChanged(monotonicMs());
    this.texts.schemaChanged();
    for (const entry of this.#databases.values()) forgetCatalogOf(entry);
  }

  /** Nobody reads its catalog any more. */
  #forget(database: string): void {
    const entry = this.#databases.get(database);
    if (entry !== undefined) forgetCatalogOf(entry);
    this.#databases.delete(database);
  }

  reconfigure(routing: RoutingConfig, autoPrepare: AutoPrepareConfig): void {
    this.#routing = routing;
    this.autoPrepare.configure(autoPrepare);
    for (const entry of this.#databases.values()) {
      entry.classifier = this.#createClassifier(() => entry.catalog);
      this.#judgeReads(entry);
    }
  }

  #judgeReads(entry: DatabaseClassifier): void {
    entry.readsMayJoin =
      entry.catalog !== null && keepsReadsApart(entry.catalog, this.#routing.readFunctions ?? []);
  }

  #createClassifier(catalog: () => PostgresCatalog | null): PostgresClassifying {
    const { readFunctions, writeFunctions, foreignTablesAreReads } = this.#routing;
    return createPostgresClassifier({
      catalog,
      // The more databases there are the less each may keep: all together stay within a few hundred megabytes.
      cacheShare: Math.max(1 / 64, 1 / (1 + this.#databases.size)),
      overrides: { readFunctions, writeFunctions, foreignTablesAreReads },
    });
  }

  /** Rejects with the first failure once all databases have been asked; one that is not there any more is none. */
  async refreshCatalog(open: (database: string) => NodeControl, timeoutMs: number): Promise<void> {
    const failures: unknown[] = [];
    for (const [database, entry] of [...this.#databases]) {
      const control = open(database);
      try {
        await this.#refresh(entry, control, timeoutMs);
      } catch (cause) {
        if (isUnknownDatabase(cause)) this.#forget(database);
        else failures.push(cause);
      } finally {
        await control.close();
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #refresh(entry: DatabaseClassifier, control: NodeControl, timeoutMs: number): Promise<void> {
    const generation = this.#generation;
    // Asked before the rows, which then are as new at least. Where one was known until now nothing comes before the rows.
    const isUrgent = entry.catalog === null && entry.catalogDigest !== '';
    // A server that cannot say it is asked for the rows.
    const serverDigest = isUrgent ? null : await askCatalogDigest(control, timeoutMs).catch(() => null);
    if (entry.catalog !== null && serverDigest !== null && serverDigest === entry.serverDigest) return;
    const rows = await readCatalog(control, timeoutMs);
    // What was read while the schema changed may be from before.
    if (generation !== this.#generation) return;
    entry.serverDigest = serverDigest;
    const digest = digestOf(rows);
    // What has been concluded from the same catalog still holds.
    if (entry.catalog !== null && entry.catalogDigest === digest) return;
    entry.catalogDigest = digest;
    entry.catalog = buildPostgresCatalog(rows);
    this.#judgeReads(entry);
    entry.classifier.catalogChanged();
  }

  readonly beginCommits = false;

  /** A database that no client has used is not made known by this: nothing is concluded from its catalog then. */
  inspect(sql: Buffer, context: InspectionContext): Inspection {
    const [only] = this.#databases.size === 1 ? this.#databases.keys() : [];
    const database = context.database ?? only ?? null;
    const known = database === null ? undefined : this.#databases.get(database);
    const notes: string[] = [];
    if (known === undefined)
      notes.push(
        database === null
          ? 'no database is given: functions and views count as unknown'
          : `no client here has used the database ${database}: its functions and views count as unknown`,
      );
    else if (known.catalog === null)
      notes.push(
        `the catalog of the database ${database} is not known yet: functions and views count as unknown`,
      );
    const classifier = known ?? { classifier: this.#createClassifier(() => null) };
    const classified = classifyText(classifier, context, sql, Parameters.none.lexSettings);
    const { enabled, threshold } = this.autoPrepare.config;
    const filled = classifier.classifier.filled(sql)?.body ?? null;
    const foresight = foresee(
      this.autoPrepare,
      enabled ? threshold : Number.POSITIVE_INFINITY,
      classified.statement,
      sql,
      '',
      filled,
    );
    return inspectText(classified, sql, foresight, null, notes);
  }

  get autoPrepareStats(): AutoPrepareStats {
    return this.autoPrepare.stats;
  }

  answerPeer(request: PeerRequest): Promise<string> {
    return this.cancelKeys.answerPeer(request);
  }

  get classificationStats(): ClassificationStats {
    const sum = noStats();
    for (const { classifier } of this.#databases.values()) {
      for (const key of Object.keys(sum) as (keyof ClassificationStats)[]) sum[key] += classifier.stats[key];
    }
    return sum;
  }
}

function forgetCatalogOf(entry: DatabaseClassifier): void {
  entry.catalog = null;
  entry.readsMayJoin = false;
  entry.classifier.catalogChanged();
}

async function askCatalogDigest(control: NodeControl, timeoutMs: number): Promise<string> {
  const digests: unknown[] = [];
  for (const sql of Object.values(POSTGRES_CATALOG_QUERIES)) {
    const [row] = await control.query(digestQuery(sql), timeoutMs);
    digests.push(row?.digest ?? null);
  }
  return JSON.stringify(digests);
}

async function readCatalog(control: NodeControl, timeoutMs: number): Promise<PostgresCatalogRows> {
  const rows = {} as Record<PostgresCatalogQuery, readonly CatalogRow[]>;
  for (const [name, sql] of Object.entries(POSTGRES_CATALOG_QUERIES)) {
    rows[name as PostgresCatalogQuery] = await control.query(sql, timeoutMs);
  }
  return rows;
}
