// Walks the parse tree of a would-be read and collects why it must not go to a replica. It knows node types and asks the
// rules about names; it never recurses, so that no tree is too deep for it.

import type { PinReason } from '../statement.js';
import { nodeSettings, relationNameFunctions } from './functions.js';
import {
  constant,
  flag,
  isNull,
  isRecord,
  list,
  nameParts,
  record,
  type Tree,
  type TreeRecord,
  text,
} from './parser.js';
import { isTemporarySchema, type PostgresRules, type Verdict } from './rules.js';

/** Reasons beyond these add nothing for an operator. */
const maxReasons = 6;

export interface Findings {
  /** Why it must run on the primary; empty for a pure read. */
  reasons: string[];
  pin: PinReason | null;
  /** There are reasons, and all are that it asks how one node is. */
  tellsOfNode: boolean;
  /** Something depends on the value of a literal, and the tree was made from a shape without values. */
  needsLiterals: boolean;
}

/** Node types that do nothing by themselves. Any type that is not here (or handled below) makes the statement a write. */
const passive: ReadonlySet<string> = new Set(
  `SelectStmt ResTarget ColumnRef ParamRef A_Const A_Expr A_Star A_Indices A_Indirection A_ArrayExpr TypeCast TypeName
  CollateClause FuncCall SubLink BoolExpr NullTest BooleanTest CaseExpr CaseWhen CoalesceExpr MinMaxExpr RowExpr
  GroupingFunc GroupingSet NamedArgExpr SQLValueFunction SetToDefault XmlExpr XmlSerialize RangeVar RangeSubselect
  RangeFunction RangeTableSample RangeTableFunc RangeTableFuncCol JoinExpr WindowDef SortBy CommonTableExpr List
  String Integer Float Boolean BitString ColumnDef Alias JsonFuncExpr JsonValueExpr JsonFormat JsonReturning JsonOutput
  JsonArgument JsonBehavior JsonTable JsonTableColumn JsonTablePathSpec JsonTablePath JsonKeyValue JsonParseExpr
  JsonScalarExpr JsonSerializeExpr JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor
  JsonAggConstructor JsonObjectAgg JsonArrayAgg JsonIsPredicate`.split(/\s+/),
);

/** Table sampling methods: PostgreSQL's own and those of its two extensions. */
const samplers: ReadonlySet<string> = new Set(['system', 'bernoulli', 'system_rows', 'system_time']);

const strengths: Readonly<Record<string, string>> = {
  LCS_FORUPDATE: 'FOR UPDATE',
  LCS_FORNOKEYUPDATE: 'FOR NO KEY UPDATE',
  LCS_FORSHARE: 'FOR SHARE',
  LCS_FORKEYSHARE: 'FOR KEY SHARE',
};

const statementWords: Readonly<Record<string, string>> = {
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
};

export class TreeWalk {
  readonly #rules: PostgresRules;
  /** The tree has the statement's real literals. */
  readonly #literal: boolean;
  readonly findings: Findings = { reasons: [], pin: null, tellsOfNode: false, needsLiterals: false };
  #doesMore = false;

  constructor(rules: PostgresRules, literal: boolean) {
    this.#rules = rules;
    this.#literal = literal;
  }

  walk(root: Tree): Findings {
    const pending: Tree[] = [root];
    for (let tree = pending.pop(); tree !== undefined; tree = pending.pop()) {
      if (Array.isArray(tree)) {
        for (const item of tree) pending.push(item);
        continue;
      }
      if (!isRecord(tree)) continue;
      for (const key in tree) {
        const value = tree[key];
        if (typeof value !== 'object' || value === null) continue;
        // A capitalized key is a node's type; any other is a field.
        const initial = key.charCodeAt(0);
        if (initial >= 0x41 && initial <= 0x5a && isRecord(value)) this.#node(key, value);
        else if (key === 'intoClause' && isRecord(value)) this.#into(value);
        else if (key === 'typeName' && isRecord(value)) this.#type(value);
        pending.push(value);
      }
    }
    const { reasons, needsLiterals } = this.findings;
    this.findings.tellsOfNode = reasons.length > 0 && !this.#doesMore && !needsLiterals;
    return this.findings;
  }

  /** A relation outside of a RangeVar node: COPY's. */
  relation(range: TreeRecord): void {
    this.#report(this.#rules.relation(text(range, 'schemaname') || null, text(range, 'relname')));
  }

  #primary(reason: string, pin: PinReason | null = null): void {
    this.#doesMore = true;
    this.#found(reason, pin);
  }

  #found(reason: string, pin: PinReason | null): void {
    const findings = this.findings;
    if (findings.reasons.length < maxReasons && !findings.reasons.includes(reason))
      findings.reasons.push(reason);
    findings.pin ??= pin;
  }

  #report(verdict: Verdict | null): void {
    if (verdict?.tellsOfNode === true) this.#found(verdict.reason, null);
    else if (verdict !== null) this.#primary(verdict.reason, verdict.pin);
  }

  #node(type: string, node: TreeRecord): void {
    if (!passive.has(type)) {
      if (type === 'LockingClause') this.#primary(`${strengths[text(node, 'strength')] ?? 'FOR'} locks rows`);
      else {
        const written = statementWords[type] === undefined ? null : record(node, 'relation');
        const pin = written === null ? null : this.#rules.pinOfWrite(text(written, 'relname'));
        this.#primary(`contains ${statementWords[type] ?? type}`, pin);
      }
      return;
    }
    switch (type) {
      case 'FuncCall':
        this.#call(node);
        break;
      case 'RangeVar':
        this.relation(node);
        break;
      case 'A_Expr':
        this.#operator(list(node, 'name'), text(node, 'kind'));
        break;
      case 'SubLink':
        this.#operator(list(node, 'operName'), '');
        break;
      case 'SortBy':
        this.#operator(list(node, 'useOp'), '');
        break;
      case 'ColumnRef': {
        const fields = list(node, 'fields');
        if (fields.length > 1) this.#attribute(fields);
        break;
      }
      case 'A_Indirection':
        this.#attribute(list(node, 'indirection'));
        break;
      case 'TypeName':
        this.#type(node);
        break;
      case 'TypeCast':
        this.#cast(node);
        break;
      case 'RangeTableSample': {
        const method = nameParts(list(node, 'method')).at(-1) ?? '';
        if (!samplers.has(method)) this.#primary(`sampling method ${method} is not known`);
        break;
      }
      default:
    }
  }

  #into(node: TreeRecord): void {
    const range = record(node, 'rel');
    const temporary =
      range !== null &&
      (text(range, 'relpersistence') === 't' || isTemporarySchema(text(range, 'schemaname')));
    this.#primary('SELECT INTO creates a table', temporary ? 'temporary-table' : null);
  }

  #operator(names: readonly Tree[], kind: string): void {
    const name = nameParts(names).at(-1);
    // BETWEEN and its like carry words in place of their operators, which are <= and >=.
    if (name === undefined || kind.includes('BETWEEN')) return;
    this.#report(this.#rules.operator(name));
  }

  #attribute(fields: readonly Tree[]): void {
    for (const field of nameParts(fields)) this.#report(this.#rules.attribute(field));
  }

  #type(node: TreeRecord): void {
    const names = nameParts(list(node, 'names'));
    const name = names.at(-1);
    if (name !== undefined) this.#report(this.#rules.type(names.at(-2) ?? null, name));
  }

  #cast(node: TreeRecord): void {
    const type = record(node, 'typeName');
    const name = type === null ? undefined : nameParts(list(type, 'names')).at(-1);
    if (name === 'regclass') this.#relationLiteral(node.arg);
  }

  /** A literal that names a relation: 'pg_temp.t'::regclass. */
  #relationLiteral(argument: Tree | undefined): void {
    const value = constant(argument);
    if (value === null) return;
    if (!this.#literal) this.findings.needsLiterals = true;
    else if (/(^|")pg_temp(_\d+)?"?\s*\./i.test(value.trim())) {
      this.#primary(`${value} is a temporary table`, 'temporary-table');
    }
  }

  #call(node: TreeRecord): void {
    const parts = nameParts(list(node, 'funcname'));
    const name = parts.at(-1) ?? '';
    const schema = parts.length > 1 ? parts.at(-2)! : null;
    const first = list(node, 'args')[0];
    if (name === 'current_setting') this.#setting(first);
    else if (name === 'set_config') this.#setConfig(list(node, 'args'));
    else this.#report(this.#rules.function(schema, name));
    if (relationNameFunctions.has(name)) this.#relationLiteral(first);
    // A function may be written with its arguments' names only (VARIADIC, named): those are walked like any others.
    if (flag(node, 'agg_within_group') && name === '') this.#primary('unnamed function');
  }

  #setting(argument: Tree | undefined): void {
    const value = constant(argument);
    if (value === null) this.#primary('current_setting of a name that is not a literal');
    else if (!this.#literal) this.findings.needsLiterals = true;
    else if (nodeSettings.has(value.trim().toLowerCase()))
      this.#found(`setting ${value} is one node's`, null);
  }

  /** set_config(name, value, is_local): local to the transaction, or an untracked change of the session. */
  #setConfig(args: readonly Tree[]): void {
    if (!this.#literal && args.some((argument) => constant(argument) !== null))
      this.findings.needsLiterals = true;
    const local = constant(args[2]);
    if (local !== null && isTrue(local) && !isNull(args[2]))
      this.#primary('set_config changes its transaction');
    else this.#primary('set_config changes the session', 'set-config');
  }
}

/** PostgreSQL's reading of a boolean: any unique prefix of true, yes, on, or 1. */
export function isTrue(value: string): boolean {
  const lower = value.trim().toLowerCase();
  return (
    lower !== '' && ('true'.startsWith(lower) || 'yes'.startsWith(lower) || lower === 'on' || lower === '1')
  );
}

export function isFalse(value: string): boolean {
  const lower = value.trim().toLowerCase();
  if (lower === '' || lower === 'o') return false;
  return 'false'.startsWith(lower) || 'no'.startsWith(lower) || 'off'.startsWith(lower) || lower === '0';
}
