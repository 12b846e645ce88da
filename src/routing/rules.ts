// Which routing rules a unit matches, and what they say together; each question is asked once for a connection or a shape.
// It runs no pattern by itself (whoever does bounds its time) and knows no session, node or clock.

import type { RuleConfig } from '../config/schema.js';
import { globMatches } from '../lib/glob.js';
import { isInNetwork, type Network, parseNetwork } from '../lib/network.js';
import type { RuledStatement } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';
import { filledIn, NO_LAYER, type PolicyLayer, PREPARE_AS_CLUSTER, type RuleLogLevel } from './policy.js';
import { membersOf } from './shape-members.js';

/** A connection as it has logged in. */
export interface ConnectionFacts {
  readonly user: string;
  readonly database: string;
  readonly application: string;
  readonly clientAddress: string;
}

/** Whether the pattern of this rule finds something in the shape. */
export type PatternTest = (rule: RuleConfig, pattern: RegExp, shape: string) => boolean;

/** What the rules that match say together. One object for the same rules of the same connection. */
export interface RuleMatch {
  readonly names: readonly string[];
  readonly layer: PolicyLayer;
  readonly deny: { readonly rule: string; readonly message: string } | null;
  readonly log: RuleLogLevel | null;
}

export const NO_MATCH: RuleMatch = { names: [], layer: NO_LAYER, deny: null, log: null };

const READ = 1;
const WRITE = 2;
const DDL = 4;
const TRANSACTION = 8;
const SESSION = 16;
const CLASS_BITS = {
  read: READ,
  write: WRITE,
  ddl: DDL,
  transaction: TRANSACTION,
  session: SESSION,
} as const;

/** What a statement is, in the words of the rules. A text of several is all that its members may be. */
function classBits(statement: StatementClass): number {
  const { route, transaction, ddl, statements, verb, pin, prepared } = statement;
  if (transaction !== null && statements <= 1) return TRANSACTION;
  const more = (transaction !== null ? TRANSACTION : 0) | (ddl ? DDL : 0);
  if (prepared?.kind === 'prepare' && prepared.body !== null) return classBits(prepared.body);
  switch (route) {
    case 'replica':
      return READ | more;
    case 'primary': {
      const isOwnState = statements <= 1 && (verb === 'SHOW' || (verb === 'SET' && pin === 'user-variable'));
      return isOwnState ? SESSION : WRITE | more;
    }
    default:
      return SESSION | more;
  }
}

/** A shape that is longer is not looked at beyond: the classifiers show no more. */
const MAX_SHAPES = 10_000;

interface Rule {
  readonly config: RuleConfig;
  readonly networks: readonly Network[] | null;
  readonly shapes: ReadonlySet<string> | null;
  readonly pattern: RegExp | null;
  readonly classes: number | null;
  readonly layer: PolicyLayer;
  /** Answers of the pattern by shape. */
  readonly tried: Map<string, boolean>;
}

/** Why a rule does not match a connection; null: it does. */
function connectionMismatch({ config, networks }: Rule, facts: ConnectionFacts): string | null {
  for (const what of ['user', 'database', 'application'] as const) {
    const patterns = config.match[what];
    if (patterns !== null && !patterns.some((pattern) => globMatches(pattern, facts[what])))
      return `${what} "${facts[what]}" is not ${patterns.join(' or ')}`;
  }
  if (networks !== null && !networks.some((network) => isInNetwork(facts.clientAddress, network)))
    return `client address ${facts.clientAddress} is not in ${config.match.clientAddress!.join(' or ')}`;
  return null;
}

export class RuleSet {
  readonly #rules: readonly Rule[];
  readonly #test: PatternTest;
  /** By the rules in it: few, however many connections there are. */
  readonly #connections = new Map<string, ConnectionRules>();

  /** The patterns have been checked. */
  constructor(rules: readonly RuleConfig[], test: PatternTest) {
    this.#test = test;
    this.#rules = rules.map((config) => ({
      config,
      networks: config.match.clientAddress?.map((text) => parseNetwork(text)!) ?? null,
      shapes: config.match.shape === null ? null : new Set(config.match.shape),
      pattern: config.match.shapePattern === null ? null : new RegExp(config.match.shapePattern, 'i'),
      classes: config.match.class?.reduce<number>((bits, name) => bits | CLASS_BITS[name], 0) ?? null,
      layer: layerOf(config),
      tried: new Map(),
    }));
  }

  /** The rules that a connection may match; the same object for all that may match the same. */
  forConnection(facts: ConnectionFacts): ConnectionRules {
    const rules = this.#rules.filter((rule) => connectionMismatch(rule, facts) === null);
    const key = rules.map((rule) => this.#rules.indexOf(rule)).join();
    let connection = this.#connections.get(key);
    if (connection === undefined) {
      connection = new ConnectionRules(rules, this.#test);
      this.#connections.set(key, connection);
    }
    return connection;
  }

  /** One line a rule, in order: for an operator who asks why. */
  explain(facts: ConnectionFacts, unit: readonly RuledStatement[]): RuleVerdict[] {
    const verdicts: RuleVerdict[] = [];
    let decidedBy: string | null = null;
    for (const rule of this.#rules) {
      const { name } = rule.config;
      const why =
        decidedBy !== null
          ? `rule ${decidedBy} matched before`
          : (connectionMismatch(rule, facts) ?? unitMismatch(rule, unit, this.#test));
      verdicts.push({ rule: name, matches: why === null, why: why ?? 'matches' });
      if (why === null && !rule.config.continue) decidedBy = name;
    }
    return verdicts;
  }
}

export interface RuleVerdict {
  readonly rule: string;
  readonly matches: boolean;
  /** Why not, or "matches". */
  readonly why: string;
}

export class ConnectionRules {
  readonly #rules: readonly Rule[];
  readonly #test: PatternTest;
  /** What statement it is does not matter to any of them. */
  readonly #whatever: RuleMatch | null;
  /** By class, then by shape. */
  readonly #known: Map<string, RuleMatch>[] = [];
  /** By the rules in them. */
  readonly #matches = new Map<string, RuleMatch>();
  readonly #keys = new WeakMap<RuleMatch, string>([[NO_MATCH, '']]);
  /** Of some statements: a rule may turn preparing on, and the lowest threshold that one of them names. */
  readonly autoPrepare: { readonly mayEnable: boolean; readonly threshold: number };

  constructor(rules: readonly Rule[], test: PatternTest) {
    this.#rules = rules;
    const choices = rules.map(({ layer }) => layer.autoPrepare);
    this.autoPrepare = {
      mayEnable: choices.some(({ enabled }) => enabled === true),
      threshold: Math.min(...choices.map(({ threshold }) => threshold ?? Number.POSITIVE_INFINITY)),
    };
    this.#test = test;
    const isPlain = rules.every((rule) => !looksAtStatements(rule));
    this.#whatever = isPlain ? this.#together(rules) : null;
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** `ruled`: all statements of a unit; none: no rule looks at it. */
  match(ruled: readonly RuledStatement[]): RuleMatch {
    if (this.#rules.length === 0) return NO_MATCH;
    if (ruled.length === 0) return NO_MATCH;
    if (this.#whatever !== null) return this.#whatever;
    if (ruled.length === 1) return this.#matchOne(ruled[0]!);
    return this.#combined(ruled.map((statement) => this.#matchOne(statement)));
  }

  #combined(matches: readonly RuleMatch[]): RuleMatch {
    const distinct = [...new Set(matches)];
    if (distinct.length === 1) return distinct[0]!;
    const key = distinct.map((match) => this.#keys.get(match)).join('+');
    let match = this.#matches.get(key);
    if (match === undefined) match = this.#keep(key, combined(distinct));
    return match;
  }

  #keep(key: string, match: RuleMatch): RuleMatch {
    if (this.#matches.size >= MAX_SHAPES) this.#matches.delete(this.#matches.keys().next().value!);
    this.#matches.set(key, match);
    this.#keys.set(match, key);
    return match;
  }

  #matchOne({ shape, statement }: RuledStatement): RuleMatch {
    const bits = classBits(statement);
    this.#known[bits] ??= new Map();
    const known = this.#known[bits];
    const before = known.get(shape);
    if (before !== undefined) return before;
    const match =
      statement.statements <= 1
        ? this.#matchShape(shape, bits)
        : this.#combined(membersOf(shape).map((member) => this.#matchShape(member, bits)));
    if (known.size >= MAX_SHAPES) known.delete(known.keys().next().value!);
    known.set(shape, match);
    return match;
  }

  #matchShape(shape: string, bits: number): RuleMatch {
    const matching: Rule[] = [];
    for (const rule of this.#rules) {
      if (shapeMismatch(rule, shape, bits, this.#test) !== null) continue;
      matching.push(rule);
      if (!rule.config.continue) break;
    }
    return this.#together(matching);
  }

  #together(matching: readonly Rule[]): RuleMatch {
    const ending = matching.findIndex(({ config }) => !config.continue);
    const said = ending < 0 ? matching : matching.slice(0, ending + 1);
    if (said.length === 0) return NO_MATCH;
    const key = said.map((rule) => this.#rules.indexOf(rule)).join();
    let match = this.#matches.get(key);
    if (match === undefined) {
      match = said.map(matchOf).reduce(
        (a, b): RuleMatch => ({
          names: [...a.names, ...b.names],
          layer: filledIn(a.layer, b.layer),
          deny: a.deny ?? b.deny,
          log: a.log ?? b.log,
        }),
      );
      this.#keep(key, match);
    }
    return match;
  }
}

function matchOf({ config: { name, action }, layer }: Rule): RuleMatch {
  return {
    names: [name],
    layer,
    deny: action.deny === null ? null : { rule: name, message: action.deny },
    log: action.log,
  };
}

const SEVERITY: readonly (RuleLogLevel | null)[] = [null, 'debug', 'info', 'warn'];

/**
 * Several statements run as one: what any of them must not, none does; one that belongs on the primary takes the others with
 * it; else the first that says something is heard.
 */
function combined(distinct: readonly RuleMatch[]): RuleMatch {
  let layer = NO_LAYER;
  for (const match of distinct) layer = filledIn(layer, match.layer);
  const toPrimary = distinct.find(({ layer: { target } }) => target?.kind === 'primary');
  if (toPrimary !== undefined) layer = { ...layer, target: toPrimary.layer.target };
  if (distinct.some((match) => match.layer.consistency === 'primary'))
    layer = { ...layer, consistency: 'primary' };
  const timeouts = distinct.flatMap(({ layer: { timeoutMs } }) => timeoutMs ?? []);
  if (timeouts.length > 0) layer = { ...layer, timeoutMs: Math.min(...timeouts) };
  return {
    names: [...new Set(distinct.flatMap(({ names }) => names))],
    layer,
    deny: distinct.find(({ deny }) => deny !== null)?.deny ?? null,
    log: SEVERITY[Math.max(...distinct.map(({ log }) => SEVERITY.indexOf(log)))] ?? null,
  };
}

function looksAtStatements({ shapes, pattern, classes }: Rule): boolean {
  return shapes !== null || pattern !== null || classes !== null;
}

/** Why a rule does not match a statement; null: it does. */
function shapeMismatch(rule: Rule, shape: string, bits: number, test: PatternTest): string | null {
  const { shapes, pattern, classes, config } = rule;
  if (classes !== null && (classes & bits) === 0)
    return `its class is not ${config.match.class!.join(' or ')}`;
  if (shapes !== null && !shapes.has(shape)) return 'its shape is another';
  if (pattern !== null && !tried(rule, pattern, shape, test))
    return `its shape has nothing of ${config.match.shapePattern}`;
  return null;
}

function tried(rule: Rule, pattern: RegExp, shape: string, test: PatternTest): boolean {
  const before = rule.tried.get(shape);
  if (before !== undefined) return before;
  const found = test(rule.config, pattern, shape);
  if (rule.tried.size >= MAX_SHAPES) rule.tried.delete(rule.tried.keys().next().value!);
  rule.tried.set(shape, found);
  return found;
}

function unitMismatch(rule: Rule, unit: readonly RuledStatement[], test: PatternTest): string | null {
  let why: string | null = 'rules do not look at it';
  for (const { shape, statement } of unit) {
    const shapes = statement.statements <= 1 ? [shape] : membersOf(shape);
    for (const member of shapes) {
      why = shapeMismatch(rule, member, classBits(statement), test);
      if (why === null) return null;
    }
  }
  return why;
}

function layerOf({ action }: RuleConfig): PolicyLayer {
  const { route, fallback, consistency, maxLagMs, waitMs, timeoutMs, session, sharing, autoPrepare } = action;
  return {
    consistency,
    maxLagMs,
    waitMs,
    target: route,
    fallback,
    timeoutMs,
    sharing,
    autoPrepare: autoPrepare ?? PREPARE_AS_CLUSTER,
    sessionKey: session,
  };
}
