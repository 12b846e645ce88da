// What a storm has counted: answers by kind, documented errors by code, what the chaos did, and the violations with their stories.
// It decides nothing.

export interface Violation {
  readonly client: number;
  readonly kind: string;
  readonly what: string;
  readonly asked: string;
  readonly got: string;
  readonly story: readonly string[];
}

export class Tally {
  readonly answered: Record<string, number> = {};
  /** `kind code`. */
  readonly failed: Record<string, number> = {};
  readonly chaos: Record<string, number> = {};
  readonly violations: Violation[] = [];
  violationCount = 0;
  logins = 0;
  slowestMs = 0;

  count(table: 'answered' | 'failed' | 'chaos', name: string): void {
    this[table][name] = (this[table][name] ?? 0) + 1;
  }

  violation(violation: Violation): void {
    this.violationCount++;
    // The first ones tell the most.
    if (this.violations.length < 20) this.violations.push(violation);
  }

  get total(): number {
    return Object.values(this.answered).reduce((sum, each) => sum + each, 0);
  }
}
