// What the clients of one MySQL or MariaDB cluster share: greeting, logins, connection ids, prepared texts and the classifier.
// It knows no node and no session.

import type { Socket } from 'node:net';
import type { RoutingConfig } from '../config/schema.js';
import { digestOf } from '../lib/digest.js';
import type { ClientConnection, SessionHost } from '../protocol/client-connection.js';
import type { Inspection, InspectionContext } from '../protocol/inspection.js';
import type { NodeControl } from '../protocol/node-control.js';
import type { ListenerSettings, PeerRequest, ProtocolRuntime, RuntimeOptions } from '../protocol/protocol.js';
import type { Connect } from '../protocol/server-connection.js';
import {
  buildMysqlCatalog,
  MYSQL_CATALOG_QUERIES,
  type MysqlCatalog,
  type MysqlCatalogRows,
} from '../sql/mysql/catalog.js';
import { createMysqlClassifier } from '../sql/mysql/classifier.js';
import type { ClassificationStats, Classifier, MysqlLexSettings } from '../sql/statement.js';
import type { ReportBug } from '../telemetry/bug.js';
import type { Log } from '../telemetry/log.js';
import { CACHING_SHA2 } from './auth/caching-sha2.js';
import type { LoginContext } from './auth/client-login.js';
import { NATIVE_PASSWORD } from './auth/native-password.js';
import { PasswordCache } from './auth/password-cache.js';
import { RsaKey } from './auth/rsa-key.js';
import { MysqlClientConnection } from './client-connection.js';
import { connectMysql } from './connect.js';
import { ConnectionIds } from './connection-ids.js';
import { inspectForNobody } from './inspect.js';
import { PreparedTexts } from './prepared-statements.js';
import type { MysqlServerConnection } from './server-connection.js';
import { type Capabilities, offeredCapabilities } from './wire/capabilities.js';
import { type Greeting, greetingVersion, isMariadb, versionNumber } from './wire/greeting.js';
import { STATUS } from './wire/ok.js';

/** Until the primary has been probed. */
const UNKNOWN_VERSION = '8.0.0-scheelite';
const UTF8MB4_GENERAL_CI = 45;

export class MysqlRuntime implements ProtocolRuntime {
  readonly connect: Connect = (request) => connectMysql(request, this.bug);
  readonly ids: ConnectionIds;
  readonly texts = new PreparedTexts();
  readonly log: Log;
  readonly bug: ReportBug;
  /** Counts catalogs: what was concluded from an older one is concluded again. */
  catalogVersion = 0;
  classifier: Classifier<MysqlLexSettings>;
  serverVersion = '';
  readonly #rsa = new RsaKey();
  readonly #passwords = new PasswordCache();
  #routing: RoutingConfig;
  #catalog: MysqlCatalog | null = null;
  /** Of the rows that it was built from. */
  #catalogDigest = '';
  /** Of the last server connection that a login was confirmed on. */
  #seen: Greeting | null = null;
  #isAsked = false;
  readonly #catalogWanted: () => void;

  constructor(options: RuntimeOptions) {
    this.log = options.log;
    this.bug = options.bug;
    this.ids = new ConnectionIds(options.peers);
    this.#routing = options.routing;
    this.#catalogWanted = options.catalogWanted;
    this.classifier = this.#createClassifier();
  }

  accept(socket: Socket, settings: ListenerSettings, host: (client: ClientConnection) => SessionHost): void {
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#catalogWanted();
    }
    new MysqlClientConnection(socket, settings, this, host);
  }

  // --- logins -----------------------------------------------------------------------------------------------

  greeting(connectionId: number): Omit<Greeting, 'scramble' | 'plugin'> {
    const serverVersion = this.#versionText();
    const server = this.#seen?.capabilities ?? presumedCapabilities(serverVersion);
    return {
      serverVersion,
      connectionId,
      capabilities: offeredCapabilities(server),
      collation: this.#seen?.collation ?? UTF8MB4_GENERAL_CI,
      status: STATUS.AUTOCOMMIT,
    };
  }

  loginContext(host: SessionHost, settings: ListenerSettings): LoginContext {
    return {
      lookUpUser: (user, database) => host.lookUpUser(user, database),
      rsa: this.#rsa,
      passwords: this.#passwords,
      defaultPlugin: isMariadb(this.#versionText()) ? NATIVE_PASSWORD : CACHING_SHA2,
      trust: settings.auth === 'trust',
      secure: false,
    };
  }

  /** A node has let a client in: what it said of itself is what the next clients are told. */
  learn(server: MysqlServerConnection): void {
    this.#seen = server.greeting;
  }

  #versionText(): string {
    if (this.serverVersion !== '') return greetingVersion(this.serverVersion);
    return this.#seen?.serverVersion ?? UNKNOWN_VERSION;
  }

  get flavour(): Pick<MysqlLexSettings, 'flavour' | 'versionNumber'> {
    const version = this.#versionText();
    return { flavour: isMariadb(version) ? 'mariadb' : 'mysql', versionNumber: versionNumber(version) };
  }

  // --- catalog ----------------------------------------------------------------------------------------------

  async refreshCatalog(open: (database: string) => NodeControl, timeoutMs: number): Promise<void> {
    const control = open('');
    const version = this.catalogVersion;
    const mariadb = this.flavour.flavour === 'mariadb';
    try {
      const rows = {
        routines: await control.query(MYSQL_CATALOG_QUERIES.routines, timeoutMs),
        parameters: await control.query(MYSQL_CATALOG_QUERIES.parameters, timeoutMs),
        views: await control.query(MYSQL_CATALOG_QUERIES.views, timeoutMs),
        sequences: mariadb ? await control.query(MYSQL_CATALOG_QUERIES.sequences, timeoutMs) : [],
        // Only who may read the mysql schema; without it, unknown names go to the primary anyway.
        loadable: await control.query(MYSQL_CATALOG_QUERIES.loadable, timeoutMs).catch(() => []),
        lockers: await control.query(MYSQL_CATALOG_QUERIES.lockers, timeoutMs),
        setters: mariadb ? await control.query(MYSQL_CATALOG_QUERIES.setters, timeoutMs) : [],
      };
      // What was read while the schema changed may be from before.
      if (version !== this.catalogVersion) return;
      const digest = digestOf(rows);
      // What has been concluded from the same catalog still holds.
      if (this.#catalog !== null && digest === this.#catalogDigest) return;
      this.#catalogDigest = digest;
      // Their columns are named in the queries themselves.
      this.#catalog = buildMysqlCatalog(rows as unknown as MysqlCatalogRows, this.flavour);
    } finally {
      await control.close();
    }
    this.#catalogChanged();
  }

  forgetCatalog(): void {
    this.#catalog = null;
    this.#catalogChanged();
  }

  reconfigure(routing: RoutingConfig): void {
    this.#routing = routing;
    this.classifier = this.#createClassifier();
    this.#catalogChanged();
  }

  #catalogChanged(): void {
    this.catalogVersion++;
    this.texts.forgetReplies();
    this.classifier.catalogChanged();
  }

  #createClassifier(): Classifier<MysqlLexSettings> {
    const { readFunctions, writeFunctions } = this.#routing;
    return createMysqlClassifier({
      catalog: () => this.#catalog,
      overrides: { readFunctions, writeFunctions },
    });
  }

  readonly beginCommits = true;

  inspect(sql: Buffer, context: InspectionContext): Inspection {
    return inspectForNobody(this, sql, context, this.#catalog !== null);
  }

  get autoPrepareStats(): null {
    return null;
  }

  answerPeer(request: PeerRequest): string {
    return this.ids.answerPeer(request);
  }

  get classificationStats(): Readonly<ClassificationStats> {
    return this.classifier.stats;
  }
}

/** Before any server connection was opened: what servers of this version are known to offer. */
function presumedCapabilities(serverVersion: string): Capabilities {
  const number = versionNumber(serverVersion);
  // LONG_PASSWORD up to PLUGIN_AUTH_LENENC, CAN_HANDLE_EXPIRED_PASSWORDS, SESSION_TRACK, DEPRECATE_EOF.
  const common = 0x01ffffff;
  if (isMariadb(serverVersion)) return { flags: common & ~1, mariadb: number >= 100600 ? 0x0c : 0x04 };
  const optionalMetadata = number >= 80003 ? 1 << 25 : 0;
  const queryAttributes = number >= 80023 ? 1 << 27 : 0;
  return { flags: (common | optionalMetadata | queryAttributes) >>> 0, mariadb: 0 };
}
