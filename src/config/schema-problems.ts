// What zod found wrong with a configuration, said so that a person can mend it.
// It knows the schema only as keys to suggest; no file and no environment.

import { z } from 'zod';
import { type Problem, pathText } from './problems.js';
import { configSchema } from './schema.js';
import { secretSchema } from './schema-secret.js';
import { suggestion } from './suggestion.js';

type Path = readonly PropertyKey[];

/** All that zod found in `input`, in our words. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], input: unknown): Problem[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: pathText([...issue.path, key]),
        message: `unknown key${suggestion(key, keysAt(issue.path))}`,
      }));
    }
    return [{ path: pathText(issue.path), message: issueText(issue, valueAt(input, issue.path)) }];
  });
}

function issueText(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? `missing; expected ${typeText(issue.expected)}`
        : `expected ${typeText(issue.expected)}, not ${valueText(value)}`;
    case 'invalid_value': {
      // A message of the schema's own says more.
      if (!issue.message.startsWith('Invalid')) return issue.message;
      const values = issue.values.map((allowed) => JSON.stringify(allowed)).join(', ');
      return value === undefined
        ? `missing; expected one of ${values}`
        : `expected one of ${values}, not ${valueText(value)}`;
    }
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty';
      if (issue.origin === 'array') return 'needs at least one entry';
      return `must be at least ${issue.minimum}, not ${valueText(value)}`;
    case 'too_big':
      if (issue.origin === 'string') return `must have at most ${issue.maximum} characters`;
      if (issue.origin === 'array') return `must have at most ${issue.maximum} entries`;
      return `must be at most ${issue.maximum}, not ${valueText(value)}`;
    case 'invalid_union':
      // A message of the schema's own says more.
      if (!issue.message.startsWith('Invalid')) return issue.message;
      // The only union without one is a secret; its value is not repeated.
      return 'expected a string, {"env": "NAME"} or {"file": "path"}';
    default:
      return issue.message;
  }
}

const TYPE_TEXTS: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list [...]',
  object: 'an object {...}',
  record: 'an object {...}',
};

function typeText(expected: string): string {
  return TYPE_TEXTS[expected] ?? expected;
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value !== null && typeof value === 'object') return 'an object';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

export function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const part of path) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** The keys that the schema knows at a path. */
function keysAt(path: Path): readonly string[] {
  let schema: unknown = configSchema;
  for (const part of path) {
    schema = unwrapped(schema);
    if (schema instanceof z.ZodObject) schema = schema.shape[String(part)];
    else if (schema instanceof z.ZodArray) schema = schema.element;
    else return [];
  }
  schema = unwrapped(schema);
  if (schema instanceof z.ZodObject) return Object.keys(schema.shape);
  return schema === secretSchema ? ['env', 'file'] : [];
}

function unwrapped(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap();
  }
  return inner;
}
