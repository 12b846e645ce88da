// The little of a logger that the cluster's parts need; pino's logger is one.

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLog: Log = {
  info: () => {},
  warn: () => {},
  error: () => {},
};
