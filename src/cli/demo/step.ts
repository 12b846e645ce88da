// What a step of the tour is given and what it gives back. Types only.

import type { Application, Connection } from './application.js';
import type { DemoCluster } from './cluster.js';
import type { Narrator } from './narrator.js';
import type { DemoProxy } from './proxy.js';

export interface Stage {
  readonly cluster: DemoCluster;
  readonly proxy: DemoProxy;
  readonly application: Application;
  /** One connection of the application that is open from the first step to the last. */
  readonly session: Connection;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
}

/** Numbers for the last line; names are in the reference of the demo. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Step {
  /** In the JSON line, when it fails. */
  readonly name: string;
  readonly title: string;
  /** Throws StepFailed. */
  run(stage: Stage): Promise<Figures>;
}
