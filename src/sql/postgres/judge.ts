// Judges one parsed PostgreSQL statement: by its node type, its words and what the walk of its tree finds. It keeps nothing.

import type { StatementClass } from '../statement.js';
import { primary, statementClass } from './class.js';
import { discardClass, setClass, setConfigClass, transactionClass } from './effects.js';
import { flag, isRecord, list, parse, record, type Tree, type TreeRecord, text } from './parser.js';
import type { PostgresRules } from './rules.js';
import { firstWord, pinInShape } from './verbs.js';
import { TreeWalk } from './walk.js';

export interface Judgement {
  /** With placeholder bytes. */
  shape: string;
  /** What the parser reads: the shape with neutral literals, or the statement itself; null when it cannot be had. */
  text: string | null;
  /** `text` is the statement itself. */
  literal: boolean;
  depth: number;
  rules: PostgresRules;
}

export interface Judged {
  statement: StatementClass;
  /** The class given is provisional: it must be judged again with its literals. */
  needsLiterals: boolean;
}

/** Syntax that wants two literals where a shape has one: a list of them is collapsed there. */
const pairs = /\b(?:nullif|overlaps|json_table|json_value|json_query|json_exists)\b/;

/** CURSOR_OPT_HOLD in nodes/parsenodes.h. */
const cursorHold = 0x20;

/** The command word of a node type, where it is not the statement's first word. */
const verbs: Readonly<Record<string, string>> = {
  SelectStmt: 'SELECT',
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
};

/** The literal behind UESCAPE says how a name reads. */
const escapedName = /u&".*\buescape\b/is;

export function judge(judgement: Judgement): Judged {
  const { shape, text: sql, depth } = judgement;
  const word = firstWord(shape);
  if (!judgement.literal && escapedName.test(shape))
    return { statement: unparsed(word, shape), needsLiterals: true };
  const trees = sql === null ? null : parse(sql, depth);
  const tree = trees?.length === 1 ? trees[0]! : null;
  if (tree === null)
    return { statement: unparsed(word, shape), needsLiterals: !judgement.literal && pairs.test(shape) };
  for (const type in tree) {
    const node = tree[type];
    if (isRecord(node)) return judgeNode(type, node, judgement);
  }
  return sure(unparsed(word, shape));
}

function sure(statement: StatementClass): Judged {
  return { statement, needsLiterals: false };
}

/** Not our grammar, or out of its bounds. What might have changed the session pins it. */
function unparsed(word: string, shape: string): StatementClass {
  const verb =
    word === '(' || word === 'with' || word === 'values' || word === 'table' ? 'SELECT' : word.toUpperCase();
  const changes = word === 'set' || word === 'reset' || word === 'discard' ? 'untracked-setting' : null;
  return primary(verb, 'not understood by the parser', changes ?? pinInShape(shape));
}

function judgeNode(type: string, node: TreeRecord, judgement: Judgement): Judged {
  const { literal, rules } = judgement;
  switch (type) {
    case 'SelectStmt':
      return judgeSelect(node, judgement);
    case 'ExplainStmt':
      return judgeExplain(node, judgement);
    case 'CopyStmt':
      return judgeCopy(node, judgement);
    case 'VariableShowStmt':
      return sure(statementClass('last', 'SHOW'));
    case 'VariableSetStmt':
      if (!literal) return { statement: primary('SET', 'its literals decide'), needsLiterals: true };
      return sure(setClass(node, judgement.text ?? ''));
    case 'ConstraintsSetStmt':
      return sure(statementClass('last', 'SET', { reasons: ['SET CONSTRAINTS belongs to its transaction'] }));
    case 'DiscardStmt':
      return sure(discardClass(node));
    case 'TransactionStmt':
      return sure(transactionClass(node));
    case 'PrepareStmt':
      return judgePrepare(node, judgement);
    case 'ExecuteStmt': {
      const prepared = { kind: 'execute', name: text(node, 'name') } as const;
      const walk = new TreeWalk(rules, literal);
      const { reasons, pin, needsLiterals } = walk.walk(list(node, 'params') as Tree[]);
      const route = reasons.length === 0 ? 'last' : 'primary';
      return { statement: statementClass(route, 'EXECUTE', { reasons, pin, prepared }), needsLiterals };
    }
    case 'DeallocateStmt': {
      const name = flag(node, 'isall') ? null : text(node, 'name');
      return sure(statementClass('last', 'DEALLOCATE', { prepared: { kind: 'deallocate', name } }));
    }
    case 'DeclareCursorStmt':
      return judgeDeclare(node, judgement);
    case 'FetchStmt':
      return sure(statementClass('last', flag(node, 'ismove') ? 'MOVE' : 'FETCH'));
    case 'ClosePortalStmt':
      return sure(statementClass('last', 'CLOSE'));
    default: {
      const verb = verbs[type] ?? firstWord(judgement.shape).toUpperCase();
      const pin = pinInShape(judgement.shape);
      return sure(primary(verb, verbs[type] === undefined ? `${type} is no read` : `${verb} writes`, pin));
    }
  }
}

function judgeSelect(node: TreeRecord, { literal, rules }: Judgement): Judged {
  const walk = new TreeWalk(rules, literal);
  const { reasons, pin, tellsOfNode, needsLiterals } = walk.walk({ SelectStmt: node });
  if (needsLiterals)
    return { statement: statementClass('primary', 'SELECT', { reasons, pin }), needsLiterals };
  if (reasons.length === 0) return sure(statementClass('replica', 'SELECT'));
  const configured = setConfigClass(node);
  if (configured !== null) return sure(configured);
  const ddl = record(node, 'intoClause') !== null && pin !== 'temporary-table';
  return sure(statementClass('primary', 'SELECT', { reasons, pin, ddl, tellsOfNode }));
}

/** Without ANALYZE an EXPLAIN runs nothing, but it plans, and that folds stable and immutable functions. */
function judgeExplain(node: TreeRecord, judgement: Judgement): Judged {
  const query = record(node, 'query');
  for (const type in query) {
    const inner = query[type];
    if (!isRecord(inner)) continue;
    const judged = judgeNode(type, inner, judgement);
    const { route, reasons, pin } = judged.statement;
    if (type === 'SelectStmt' || type === 'ExecuteStmt' || type === 'DeclareCursorStmt') {
      // A cursor that is only explained is never opened; SELECT set_config(...) is never tracked here.
      const kept = route === 'replica' || route === 'last' ? route : 'primary';
      const own = type === 'DeclareCursorStmt' && route === 'last' ? 'replica' : kept;
      const state = route === 'session' ? 'set-config' : pin === 'cursor-with-hold' ? null : pin;
      return { ...judged, statement: statementClass(own, 'EXPLAIN', { reasons, pin: state }) };
    }
    const left = pinInShape(judgement.shape) ?? judgement.rules.pinOfWrites(judgement.shape);
    return sure(primary('EXPLAIN', `EXPLAIN of ${judged.statement.verb}`, left));
  }
  return sure(primary('EXPLAIN', 'not understood'));
}

function judgeCopy(node: TreeRecord, judgement: Judgement): Judged {
  const pin = pinInShape(judgement.shape);
  if (flag(node, 'is_from'))
    return sure(primary('COPY', 'COPY FROM writes', pin ?? judgement.rules.pinOfWrites(judgement.shape)));
  if (flag(node, 'is_program')) return sure(primary('COPY', 'COPY TO PROGRAM runs a program', pin));
  if (text(node, 'filename') !== '' || 'filename' in node)
    return sure(primary('COPY', 'COPY TO a file', pin));
  const walk = new TreeWalk(judgement.rules, judgement.literal);
  const range = record(node, 'relation');
  if (range !== null) walk.relation(range);
  const { reasons, pin: found, tellsOfNode, needsLiterals } = walk.walk(node.query ?? null);
  const route = reasons.length === 0 ? 'replica' : 'primary';
  return { statement: statementClass(route, 'COPY', { reasons, pin: found, tellsOfNode }), needsLiterals };
}

function judgePrepare(node: TreeRecord, judgement: Judgement): Judged {
  const query = record(node, 'query');
  let body: StatementClass | null = null;
  let needsLiterals = false;
  for (const type in query) {
    const inner = query[type];
    if (!isRecord(inner)) continue;
    const judged = judgeNode(type, inner, judgement);
    body = judged.statement;
    needsLiterals = judged.needsLiterals;
  }
  const prepared = { kind: 'prepare', name: text(node, 'name'), body } as const;
  const reasons = ['a prepared statement lives in its connection'];
  return {
    statement: statementClass('primary', 'PREPARE', { reasons, pin: 'sql-prepare', prepared }),
    needsLiterals,
  };
}

function judgeDeclare(node: TreeRecord, judgement: Judgement): Judged {
  const walk = new TreeWalk(judgement.rules, judgement.literal);
  const { reasons, pin, needsLiterals } = walk.walk(node.query ?? null);
  const options = typeof node.options === 'number' ? node.options : 0;
  if ((options & cursorHold) !== 0) {
    const held = {
      reasons: [...reasons, 'a cursor WITH HOLD outlives its transaction'],
      pin: pin ?? ('cursor-with-hold' as const),
    };
    return { statement: statementClass('primary', 'DECLARE', held), needsLiterals };
  }
  const route = reasons.length === 0 ? 'last' : 'primary';
  return { statement: statementClass(route, 'DECLARE', { reasons, pin }), needsLiterals };
}
