// From the rules of the file to rules that can be matched: lists, targets, shapes in place of the statements that operators paste;
// and what is wrong with them. It knows no server.

import { parseNetwork } from '../lib/network.js';
import type { AutoPrepareChoice } from '../protocol/auto-prepare-choice.js';
import type { RuleLogLevel, Target } from '../routing/policy.js';
import { shapeOfText as mysqlShape } from '../sql/mysql/shown-shape.js';
import { shapeOfText as postgresShape } from '../sql/postgres/shown-shape.js';
import type { MysqlLexSettings } from '../sql/statement.js';
import type { ClusterConfig, ConsistencyLevel, NodeConfig, ParsedConfig, Protocol } from './schema.js';
import type { RULE_CLASSES, RULE_FALLBACKS } from './schema-rules.js';

export type RuleClass = (typeof RULE_CLASSES)[number];

/** `clusters[i].rules[j]` with nothing left out; null is what the file does not say. */
export interface RuleConfig {
  readonly name: string;
  readonly match: {
    readonly user: readonly string[] | null;
    readonly database: readonly string[] | null;
    readonly application: readonly string[] | null;
    readonly clientAddress: readonly string[] | null;
    /** Shapes. */
    readonly shape: readonly string[] | null;
    readonly shapePattern: string | null;
    readonly class: readonly RuleClass[] | null;
  };
  readonly action: {
    readonly route: Target | null;
    readonly fallback: (typeof RULE_FALLBACKS)[number] | null;
    readonly consistency: ConsistencyLevel | null;
    readonly maxLagMs: number | null;
    readonly waitMs: number | null;
    readonly timeoutMs: number | null;
    readonly session: string | null;
    readonly deny: string | null;
    readonly log: RuleLogLevel | null;
    readonly sharing: boolean | null;
    readonly autoPrepare: AutoPrepareChoice | null;
  };
  readonly continue: boolean;
}

type ParsedRule = ParsedConfig['clusters'][number]['rules'][number];
type Report = (path: readonly PropertyKey[], message: string) => void;

/** A statement in a file is read as a new session of the newest server would read it. */
const MYSQL_SETTINGS: MysqlLexSettings = {
  flavour: 'mysql',
  versionNumber: 90_700,
  ansiQuotes: false,
  noBackslashEscapes: false,
  oracleMode: false,
  characterSet: 'utf8mb4',
};

function shapeOf(text: string, protocol: Protocol): { shape: string; statements: number } {
  return protocol === 'mysql'
    ? mysqlShape(text, MYSQL_SETTINGS)
    : postgresShape(text, { standardConformingStrings: true });
}

const list = <T>(value: T | readonly T[] | undefined): readonly T[] | null =>
  value === undefined ? null : Array.isArray(value) ? (value as readonly T[]) : [value as T];

export function resolveRule(rule: ParsedRule, index: number, protocol: Protocol): RuleConfig {
  const { match, action } = rule;
  const { route, log } = action;
  return {
    name: rule.name ?? `rule-${index + 1}`,
    match: {
      user: list(match.user),
      database: list(match.database),
      application: list(match.application),
      clientAddress: list(match.clientAddress),
      shape: list(match.shape)?.map((text) => shapeOf(text, protocol).shape) ?? null,
      shapePattern: match.shapePattern ?? null,
      class: list(match.class),
    },
    action: {
      route: route === undefined ? null : targetOf(route),
      fallback: action.fallback ?? null,
      consistency: action.consistency ?? null,
      maxLagMs: action.maxLagMs ?? null,
      waitMs: action.waitMs ?? null,
      timeoutMs: action.timeoutMs ?? null,
      session: action.session ?? null,
      deny: action.deny ?? null,
      log: log === undefined || log === false ? null : log === true ? 'info' : log,
      sharing: action.sharing ?? null,
      autoPrepare: prepareChoiceOf(action.autoPrepare),
    },
    continue: rule.continue,
  };
}

/** Null: it says nothing. */
function prepareChoiceOf(said: ParsedRule['action']['autoPrepare']): AutoPrepareChoice | null {
  const {
    enabled = null,
    threshold = null,
    maxStatements = null,
  } = typeof said === 'object' ? said : { enabled: said };
  if (enabled === null && threshold === null && maxStatements === null) return null;
  return { enabled, threshold, maxStatements };
}

function targetOf(route: NonNullable<ParsedRule['action']['route']>): Target {
  if (typeof route === 'string') return { kind: route };
  if ('node' in route) return { kind: 'node', name: route.node };
  const [tag = '', value = ''] = Object.entries(route.tag)[0] ?? [];
  return { kind: 'tag', tag, value };
}

/** What resolving hides: it looks at the rule as it stands in the file. */
export function checkParsedRule(rule: ParsedRule, protocol: Protocol, report: Report): void {
  const { match, action } = rule;
  for (const text of list(match.shape) ?? []) {
    const { statements } = shapeOf(text, protocol);
    if (statements === 0) report(['match', 'shape'], `not a statement: ${JSON.stringify(brief(text))}`);
    if (statements > 1)
      report(['match', 'shape'], `several statements: ${JSON.stringify(brief(text))}; a rule is about one`);
  }
  if (typeof action.route === 'object' && 'tag' in action.route) {
    const count = Object.keys(action.route.tag).length;
    if (count !== 1) report(['action', 'route', 'tag'], `needs exactly one tag, not ${count}`);
  }
}

/** What cannot be, or would have no effect. */
export function checkRule(
  { match, action }: RuleConfig,
  cluster: Pick<ClusterConfig, 'nodes' | 'protocol'>,
  report: Report,
): void {
  for (const text of match.clientAddress ?? []) {
    if (parseNetwork(text) === null)
      report(['match', 'clientAddress'], `"${text}" is neither an address nor a network such as 10.0.0.0/8`);
  }
  const reason = match.shapePattern === null ? null : patternProblem(match.shapePattern);
  if (reason !== null) report(['match', 'shapePattern'], reason);

  const said = Object.entries(action).flatMap(([key, value]) => (value === null ? [] : key));
  if (said.length === 0) report(['action'], 'says nothing; give it at least one of the actions');
  if (action.deny !== null) {
    for (const key of said)
      if (key !== 'deny' && key !== 'log')
        report(['action', key], 'has no effect on statements that are denied');
  }
  const { route, consistency } = action;
  if (route !== null) checkTarget(route, cluster.nodes, report);
  if (route?.kind === 'primary') {
    for (const key of ['consistency', 'maxLagMs', 'waitMs', 'fallback'])
      if (
        said.includes(key) &&
        action[key as 'waitMs'] !== null &&
        !(key === 'consistency' && consistency === 'primary')
      )
        report(['action', key], 'is about replicas, but the route is "primary"');
  } else if (route !== null && consistency === 'primary')
    report(['action', 'consistency'], 'is "primary", but the route leads elsewhere');
  if (action.fallback !== null && route === null)
    report(['action', 'fallback'], 'is about a route, and there is none');
  if (action.autoPrepare !== null && cluster.protocol !== 'postgres')
    report(['action', 'autoPrepare'], 'is for PostgreSQL');
  const isNoRead =
    match.class !== null && !match.class.some((name) => name === 'read' || name === 'transaction');
  if (isNoRead && route !== null && route.kind !== 'primary')
    report(['action', 'route'], `class ${match.class!.join(', ')} goes to the primary whatever a rule says`);
}

function checkTarget(target: Target, nodes: readonly NodeConfig[], report: Report): void {
  if (target.kind === 'node' && !nodes.some(({ name }) => name === target.name)) {
    const names = nodes.map(({ name }) => name).join(', ');
    report(['action', 'route', 'node'], `no node is named "${target.name}"; there is: ${names}`);
  }
  if (target.kind === 'tag' && target.tag !== '') {
    const { tag, value } = target;
    if (nodes.some(({ tags }) => tags[tag] === value)) return;
    const values = [...new Set(nodes.flatMap(({ tags }) => tags[tag] ?? []))].join(', ');
    const there = values === '' ? `no node has the tag "${tag}"` : `there is: ${values}`;
    report(['action', 'route', 'tag'], `no node has "${tag}": "${value}"; ${there}`);
  }
}

/** It is tried with a bound of time, so that only what cannot be a pattern at all is refused. */
function patternProblem(pattern: string): string | null {
  try {
    new RegExp(pattern, 'i');
    return null;
  } catch (error) {
    return `not a regular expression: ${(error as Error).message.replace(/^Invalid regular expression: /, '')}`;
  }
}

function brief(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
