// Text as a literal of PostgreSQL's SQL. It knows no statement.

/** Right whatever standard_conforming_strings is. */
export function quoteLiteral(value: string): string {
  const quoted = value.replaceAll("'", "''");
  return quoted.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}
