// Sharing as tests want it that have several clients on one server connection: however slow the machine is, what should
// share does. It is for configurations.

export const ONE_SHARED = { maxConnections: 1, spreadMs: 10_000, maxUsualMs: 100 };
