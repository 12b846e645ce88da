// Lets Node 20 say what it is, as Node does by itself from version 21 on; to be imported in front of what asks for it.
// Without an answer pg makes a Response to find out, and for that Node loads its whole HTTP client: 4 MiB for good.

if (!('navigator' in globalThis))
  Object.assign(globalThis, { navigator: { userAgent: `Node.js/${process.versions.node.split('.')[0]}` } });
