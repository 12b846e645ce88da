// A client's unit as a run: what the client speaks, what may be kept from it, and what becomes of a preparation.
// It knows neither socket nor server connection.

import type { ExecuteOptions, Outcome } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';
import type { ClientSession } from './client-session.js';
import { gateOf } from './gate.js';
import type { ReplySink, Run } from './run.js';
import { isState } from './tracked-state.js';
import { type MysqlUnit, UNCLASSIFIED } from './unit.js';
import { showsTracking } from './visible-tracking.js';
import { CAPABILITY, hasCapability } from './wire/capabilities.js';
import { sequenceAfter } from './wire/framer.js';

/** `status`: of the server connection, until the reply says another. `drop`: the reply is the proxy's business only. */
export function newRun(
  client: ReplySink & { readonly session: ClientSession },
  unit: MysqlUnit,
  status: number,
  options: ExecuteOptions,
  drop: boolean,
  done: (outcome: Outcome) => void,
): Run {
  const { session } = client;
  const isPlainRead = unit.statement.route === 'replica' && !session.isInTransaction;
  return {
    sink: client,
    reply: unit.reply,
    capabilities: session.capabilities,
    withhold: options.withholdRetryable && (options.onReplica || options.isShared),
    onReplica: options.onReplica,
    isShared: options.isShared,
    tracking: onlyShowsTracking(unit) ? session.tracking : null,
    isInTransaction: session.isInTransaction,
    gate: gateOf(unit, options),
    verifyAfterError: !isPlainRead,
    runsProgram: unit.kind !== 'prepare' && runsProgram(unit.statement),
    isOwnSyntax: isOwnSyntax(unit),
    asksBehindRows: !hasCapability(session.capabilities, CAPABILITY.DEPRECATE_EOF) && mayCallFunction(unit),
    namesChanges: namesChanges(unit),
    ownVariables: ownVariables(unit),
    unreported: unreported(unit),
    drop,
    text: unit.kind === 'prepare' ? unit.prepared!.text : null,
    prepared: ({ parameters }) => {
      const { text } = unit.prepared!;
      text.parameters = parameters;
      return session.statements.add(text).id;
    },
    cancelled: false,
    options,
    sequence: sequenceAfter(unit.frame),
    cut: false,
    status,
    sawTransaction: false,
    insertId: null,
    unnamedChange: false,
    done,
  };
}

const PROGRAMS: ReadonlySet<string> = new Set([
  'CALL',
  'EXECUTE',
  'UNKNOWN',
  'IF',
  'DECLARE',
  'FOR',
  'LOOP',
  'WHILE',
]);

function runsProgram({ verb, statements, transaction }: StatementClass): boolean {
  return PROGRAMS.has(verb) || statements > 1 || (verb === 'BEGIN' && transaction === null);
}

/** What brings other texts into a program, which may be wrong when others of its statements have run. */
const BRINGS_TEXT = /\b(?:execute|call)\b/i;

function isOwnSyntax({ statement, shape }: MysqlUnit): boolean {
  if (statement.verb !== 'UNKNOWN' || statement.statements > 1) return false;
  return shape !== UNCLASSIFIED.shape && !BRINGS_TEXT.test(shape);
}

const CALL = /\b(?!(?:in|and|or|not|where)\b)[\w$`]+ ?\(/i;

/**
 * While a server has these variables as the client has set them, it does not tell the proxy of other changes: where there may be some,
 * the client sees what the proxy has set.
 */
function onlyShowsTracking({ statement, shape }: MysqlUnit): boolean {
  if (!showsTracking(statement, shape)) return false;
  const { verb, statements, session } = statement;
  const isRead = (verb === 'SELECT' || verb === 'SHOW') && statements === 1 && session.length === 0;
  return isRead && !shape.includes(':=') && !CALL.test(shape);
}

/** Of several statements: a program of the node's, or what looks like a function, which may be one. */
const PROGRAM_WORDS = /[\w`] ?\(|\b(?:call|execute|declare|if|for|loop|while|repeat)\b/i;

function namesChanges(unit: MysqlUnit): boolean {
  const { verb, statements, session, transaction } = unit.statement;
  if (PROGRAMS.has(verb)) return false;
  if (statements > 1) return !PROGRAM_WORDS.test(unit.shape);
  return session.length > 0 || transaction !== null || ownVariables(unit) !== null;
}

/** One that is not known to be harmless. */
function mayCallFunction({ statement, shape }: MysqlUnit): boolean {
  const { route, verb, statements } = statement;
  return route === 'primary' && (verb === 'SELECT' || statements > 1) && /[\w`] ?\(/.test(shape);
}

const LETTER_T = 0x74;
const SET_STATEMENT = /^set statement (.*?) for /i;

/** Classes are cached by shape: so are these. */
const statementVariables = new WeakMap<StatementClass, ReadonlySet<string> | null>();

function ownVariables({ statement, shape }: MysqlUnit): ReadonlySet<string> | null {
  // Nearly every shape is something else than SET.
  if ((shape.charCodeAt(2) | 0x20) !== LETTER_T) return null;
  let variables = statementVariables.get(statement);
  if (variables === undefined) {
    const list = SET_STATEMENT.exec(shape)?.[1] ?? '';
    const names = [...list.matchAll(/(\w+)\s*=/g)].map((match) => match[1]!.toLowerCase());
    variables = names.length === 0 ? null : new Set(names);
    statementVariables.set(statement, variables);
  }
  return variables;
}

/** As the effects of a SET are written. */
const WITHOUT_SCOPE = /^SET @@ ?(?!(?:session|local) ?\.)/i;

/** MariaDB reports what SET name and SET @@session.name set, and not what SET @@name does. */
function unreported({ statement, kind }: MysqlUnit): readonly string[] | null {
  if (statement.session.length === 0 || kind === 'prepare') return null;
  const names = statement.session.flatMap((effect) =>
    effect.kind === 'set' && WITHOUT_SCOPE.test(effect.sql) && isState(effect.name) ? [effect.name] : [],
  );
  return names.length === 0 ? null : names;
}
