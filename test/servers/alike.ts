// What has run before one kind of server runs before another that is alike by `npm run test:all` only (so do the files that
// test/run calls twins).

export const ON_ALL_SERVERS = process.env.SCHEELITE_TEST_ALL === '1';
